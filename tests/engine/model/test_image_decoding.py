from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from clipshelf.errors import ImageError
from clipshelf.model.image_decoding import read_rgb
from clipshelf.model.image_limits import ImageLimits
from PIL import EpsImagePlugin, Image
from support.pictures import encode, halves


def test_transparency_lies_over_white() -> None:
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, :3, 3] = 255
    pixels = np.asarray(read_rgb(rgba))
    assert (pixels[:, :3] == 0).all() and (pixels[:, 3:] == 255).all()
    palette = Image.fromarray(np.repeat([[0, 1]], 4, 0).astype(np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    shown = np.asarray(read_rgb(encode(palette, "PNG", transparency=1)))
    assert tuple(shown[0, 0]) == (10, 20, 30) and tuple(shown[0, 1]) == (255, 255, 255)
    assert tuple(np.asarray(read_rgb(Image.new("LA", (2, 1), (0, 128))))[0, 0]) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (6, 4)) if mode in ("LAB", "I;16") else halves(mode)
    pixels = np.asarray(read_rgb(image))
    assert pixels.shape == (image.height, image.width, 3) and pixels.dtype == np.uint8


def test_sixteen_bit_gray_keeps_its_range() -> None:
    gray = np.array([[0, 0x8000, 0xFFFF]], np.uint16)
    for source in (Image.fromarray(gray), encode(Image.fromarray(gray), "PNG")):
        assert np.asarray(read_rgb(source))[0, :, 0].tolist() == [0, 128, 255]


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(np.asarray(read_rgb(data))[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_short_is_read_as_far_as_it_goes(progressive: bool) -> None:
    data = encode(Image.effect_noise((200, 160), 50).convert("RGB"), "JPEG", progressive=progressive)
    whole, cut = (np.asarray(read_rgb(part)).astype(int) for part in (data, data[: len(data) * 9 // 10]))
    assert (whole == cut)[:96].all() and not (whole == cut).all()


def test_a_jpeg_that_is_mostly_missing_is_named() -> None:
    data = encode(Image.effect_noise((200, 160), 50), "JPEG")
    with pytest.raises(ImageError, match=r"truncated.*9\d% of the rows are missing"):
        read_rgb(data[: len(data) // 12])
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.effect_noise((200, 160), 50), "JPEG", exif=exif)
    with pytest.raises(ImageError, match="of the rows are missing"):
        read_rgb(data[: len(data) // 10])


def test_other_files_cut_short_are_named() -> None:
    data = encode(Image.effect_noise((200, 100), 50), "PNG")
    with pytest.raises(ImageError, match=f"{len(data) // 2} bytes: expected a picture, found: .*truncated"):
        read_rgb(data[: len(data) // 2])


@pytest.fixture
def postscript_runs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Lists the calls with which Pillow would run a PostScript file."""
    runs: list[object] = []

    def run(tile: object, size: tuple[int, int], *options: object) -> object:
        runs.append(tile)
        return Image.new("RGB", size).im

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    return runs


def test_postscript_is_not_run(postscript_runs: list[object]) -> None:
    data = encode(halves(), "EPS")
    with pytest.raises(ImageError, match=f"{len(data)} bytes: expected a picture, found: EPS, .* not decoded but run"):
        read_rgb(data)
    assert postscript_runs == []
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # what Pillow does by itself
    assert len(postscript_runs) == 1


@pytest.mark.parametrize("format_", ["EPS", "JPEG"])
def test_a_file_inside_iptc_is_not_decoded(postscript_runs: list[object], format_: str) -> None:
    data = iptc(encode(halves(), format_))
    with pytest.raises(
        ImageError, match="expected a picture, found: IPTC, which may hold a file that is not decoded but run"
    ):
        read_rgb(data)
    assert postscript_runs == []


def iptc(content: bytes) -> bytes:
    """A picture of 16 x 8 in an IPTC container (IIM 4.2, records 3 and 8), which holds another file."""
    fields = {(3, 20): bytes([0, 16]), (3, 30): bytes([0, 8]), (3, 60): bytes([1, 0]), (3, 120): bytes([5])}
    head = b"".join(struct.pack(">BBBH", 0x1C, *tag, len(value)) + value for tag, value in fields.items())
    return head + struct.pack(">BBBH", 0x1C, 8, 10, len(content)) + content


@pytest.mark.parametrize("kind", ["WMF", "EMF"])
def test_metafiles_are_not_drawn(kind: str) -> None:
    """Windows would draw them, and other systems have no way to."""
    placeable = struct.pack("<IH4hHIH", 0x9AC6CDD7, 0, 0, 0, 16, 8, 72, 0, 0) + b"\x01\x00\t\x00"
    enhanced = struct.pack("<2I8i4s", 1, 88, 0, 0, 16, 8, 0, 0, 16, 8, b" EMF")
    data = (placeable if kind == "WMF" else enhanced).ljust(100, b"\0")
    with pytest.raises(ImageError, match="100 bytes: expected a picture, found: WMF or EMF, which is not decoded"):
        read_rgb(data)


def test_a_decompression_bomb_is_named() -> None:
    with pytest.raises(ImageError, match=r"128 pixels, more than the limit of 127 \(ImageLimits.pixels\)"):
        read_rgb(encode(halves(), "PNG"), ImageLimits(pixels=127))
    with pytest.raises(ImageError, match=r"896 bytes of memory to decode it, more than the limit of 895 "):
        read_rgb(encode(halves(), "PNG"), ImageLimits(memory=895))
    assert read_rgb(encode(halves(), "PNG"), ImageLimits(pixels=128, memory=1280)).size == (16, 8)
