from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf.errors import ImageError, InputError
from clipshelf.model.artifact import ImageSpec, Resize
from clipshelf.model.image import Decode, ImageReader
from clipshelf.model.image_limits import DEFAULT_FORMATS, ImageLimits
from PIL import Image
from support.pictures import encode, halves


def reader(resize: Resize = "shortest", size: int = 8) -> ImageReader:
    return ImageReader(ImageSpec(size=size, resize=resize, resize_to=size, resample="bicubic"))


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    image = halves()
    data = encode(image, "PNG")
    path = tmp_path / "halves.png"
    path.write_bytes(data)
    expected = reader().read(image)
    for source in (path, str(path), data, io.BytesIO(data), np.asarray(image)):
        np.testing.assert_array_equal(reader().read(source), expected)


def test_shortest_crops_the_centre_pad_keeps_all_on_white_squash_stretches() -> None:
    crop, pad, squash = (reader(rule).read(halves()) for rule in ("shortest", "pad", "squash"))
    assert crop.shape == pad.shape == squash.shape == (8, 8, 3)
    assert tuple(crop[4, 0]) == (255, 0, 0) and tuple(crop[4, 7]) == (0, 0, 255)
    assert (pad[:2] == 255).all() and (pad[6:] == 255).all()
    assert pad[4, 0, 0] > 250 and pad[4, 0, 2] < 5
    assert squash[0, 0, 0] > 250 and squash[0, 7, 2] > 250


def test_a_tall_picture_is_not_transposed() -> None:
    tall = Image.new("RGB", (4, 16), (255, 0, 0))
    tall.paste((0, 255, 0), (0, 8, 4, 16))
    pixels = reader("pad").read(tall)
    assert (pixels[:, :3] == 255).all()
    assert tuple(pixels[0, 4]) == (255, 0, 0) and tuple(pixels[7, 4]) == (0, 255, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_extreme_shapes_are_read(size: tuple[int, int]) -> None:
    filled: dict[Resize, int] = {"shortest": 64, "squash": 64, "pad": 64 if size == (1, 1) else 8}
    for rule, count in filled.items():
        pixels = reader(rule).read(Image.new("RGB", size, (200, 10, 20)))
        assert pixels.shape == (8, 8, 3) and (pixels == (200, 10, 20)).all(axis=2).sum() == count


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "0 bytes: expected a picture"),
        (b"GIF89a", "6 bytes: expected a picture"),
        (Path("nowhere.jpg"), r"nowhere\.jpg: expected a picture"),
        (b"a letter", r"^8 bytes: expected a picture, found bytes of no known format$"),
        (np.zeros((2, 2, 3), np.int32), r"expected uint8.* of shape .*found array of int32 \(2, 2, 3\)"),
        (np.zeros((2, 2, 2), np.uint8), r"found array of uint8 \(2, 2, 2\)"),
        (np.zeros((0, 2, 3), np.uint8), r"found array of uint8 \(0, 2, 3\)"),
        (3, "expected a picture"),
        (None, "expected a picture"),
    ],
)
def test_what_is_no_picture_is_named(source: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        reader().read(source)


def test_fast_decoding_stays_close_to_exact() -> None:
    smooth = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    photo = Image.fromarray(smooth).resize((1600, 960), Image.Resampling.BICUBIC)
    spec = ImageSpec(size=64, resize="shortest", resize_to=64, resample="bicubic")
    exif = Image.Exif()
    exif[0x0112] = 6
    for data in (encode(photo, "JPEG"), encode(photo, "PNG"), encode(photo, "JPEG", exif=exif)):
        fast, exact = (ImageReader(spec, decode).read(data).astype(int) for decode in ("fast", "exact"))
        assert np.abs(fast - exact).mean() < 1.5
    with pytest.raises(InputError, match="decode: expected one of fast, exact, found 'best'"):
        ImageReader(spec, "best")  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_scaled_while_it_is_decoded_is_not_shifted(orientation: int) -> None:
    """257 pixels are decoded to 33, and the last one holds an eighth of a pixel."""
    ramp = np.linspace(0, 255, 257)
    photo = Image.fromarray((np.add.outer(ramp[:249], ramp) / 2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo, "JPEG", exif=exif, quality=95)
    fast, exact = (
        ImageReader(ImageSpec(size=16, resize="squash", resize_to=16, resample="bicubic"), decode)
        .read(data)
        .astype(int)
        for decode in ("fast", "exact")
    )
    assert np.abs(fast - exact).max() <= 1


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The file cut short, or with a few bytes changed, mostly in its head."""
    broken = bytearray(data)
    if rng.random() < 0.25:
        return bytes(broken[: rng.integers(len(broken))])
    reach = len(broken) if rng.random() < 0.4 else min(len(broken), 200)
    for position in rng.integers(0, reach, rng.integers(1, 6)):
        broken[position] = rng.integers(256)
    return bytes(broken)


def _outcome(data: bytes, decode: Decode) -> str:
    limits = ImageLimits(formats=(*DEFAULT_FORMATS, "JPEG2000", "BLP"))
    try:
        pixels = ImageReader(reader().spec, decode, limits).read(data)
    except ImageError:
        return "named"
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    return "read"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "MPO", "JPEG2000", "AVIF", "BLP"])
def test_a_damaged_file_is_read_or_named(format_: str) -> None:
    rng = np.random.default_rng(5)
    image = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((90, 60))
    try:
        data = encode(image.convert("P") if format_ == "BLP" else image, format_)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow writes no {format_}: {error}")
    outcomes = {_outcome(_damaged(data, rng), "exact" if i % 2 else "fast") for i in range(150)}
    assert outcomes == {"read", "named"}


def test_a_very_long_picture_gives_its_middle() -> None:
    image = Image.new("RGB", (1, 1_000_000), (255, 0, 0))
    image.paste((0, 0, 255), (0, 499_990, 1, 500_010))
    assert (reader().read(image) == (0, 0, 255)).all()


def test_a_thin_picture_keeps_one_line_when_it_is_padded() -> None:
    thin = np.zeros((640, 1, 3), np.uint8)
    black = (reader("pad").read(thin) < 128).all(axis=2)
    assert black.any(axis=0).sum() == 1 and black.all(axis=0).sum() == 1
    np.testing.assert_array_equal(reader("pad").read(thin.swapaxes(0, 1)), reader("pad").read(thin).swapaxes(0, 1))
