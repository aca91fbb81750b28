from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clipshelf.errors import ImageError
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.image import ImageReader
from clipshelf.model.image_decoding import read_rgb
from clipshelf.model.image_tiles import tiles
from clipshelf.types import Pixels
from PIL import Image, ImageCms, ImageOps
from support.bombs import png_chunk
from support.pictures import encode, halves
from support.profiles import with_primaries

RAMP = np.linspace(0, 1, 256)
GRAY = np.arange(256)


def shown(source: Any) -> list[int]:
    levels: list[int] = np.asarray(read_rgb(source))[0, :, 0].tolist()
    return levels


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("container", ["array", "I;16", "PNG", "TIFF", "I", "F", "32-bit TIFF", "float TIFF"])
def test_deep_gray_has_the_depth_of_its_largest_value(container: str, bits: int) -> None:
    values = np.rint(RAMP * ((1 << bits) - 1))[None]
    deep = Image.fromarray(values.astype(np.uint16))
    sources: dict[str, Any] = {
        "array": values.astype(np.uint16),
        "I;16": deep,
        "PNG": encode(deep, "PNG"),
        "TIFF": encode(deep, "TIFF"),
        "I": Image.fromarray(values.astype(np.int32)),
        "F": Image.fromarray(values.astype(np.float32)),
        "32-bit TIFF": encode(Image.fromarray(values.astype(np.int32)), "TIFF"),
        "float TIFF": encode(Image.fromarray(values.astype(np.float32)), "TIFF"),
    }
    np.testing.assert_allclose(shown(sources[container]), GRAY, atol=1)


def test_sixteen_bits_become_their_nearest_level() -> None:
    values = np.arange(65536, dtype=np.uint16)[None]
    assert shown(values) == ((values[0].astype(int) + 128) // 257).tolist()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 65535), (0, 1e6), (-1, 1), (-400, 1200)])
def test_float_pictures_are_scaled_by_their_range(low: float, high: float) -> None:
    values = (low + RAMP * (high - low)).astype(np.float32)[None]
    for source in (Image.fromarray(values), encode(Image.fromarray(values), "TIFF")):
        np.testing.assert_allclose(shown(source), GRAY, atol=1)


def test_values_that_are_no_numbers_do_not_count() -> None:
    values = np.array([[0, 0.5, 1, np.nan, np.inf, -np.inf]], np.float32)
    assert shown(Image.fromarray(values)) == [0, 128, 255, 0, 255, 0]
    with pytest.raises(ImageError, match="without one finite value"):
        read_rgb(Image.fromarray(np.full((2, 2), np.nan, np.float32)))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("top", [1, 255])
def test_float_arrays_are_from_0_to_1_or_to_255(kind: str, top: int) -> None:
    values = (np.dstack([RAMP[None]] * 3) * top).astype(kind)
    np.testing.assert_allclose(np.asarray(read_rgb(values))[0, :, 1], GRAY, atol=1)


@pytest.mark.parametrize("values", [[-1.0, 1.0], [0.0, 256.0], [0.0, float("nan")], [0.0, float("inf")]])
def test_float_arrays_of_another_range_are_refused(values: list[float]) -> None:
    array: npt.NDArray[Any] = np.array([values])
    with pytest.raises(ImageError, match=r"floating point from 0 to 1 or 0 to 255, .* found array of float64"):
        read_rgb(array)


def test_sixteen_bit_gray_may_be_transparent() -> None:
    deep = Image.fromarray(np.array([[0, 300, 65535]], np.uint16))
    data = encode(deep, "PNG")
    with_key = data[:33] + png_chunk(b"tRNS", struct.pack(">H", 300)) + data[33:]
    assert shown(with_key) == [0, 255, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "L", "I;16", "1"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_in_parts_is_the_picture(mode: str, turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(turn)
    image: Image.Image = Image.fromarray(rng.integers(0, 256, (61, 83, 4), dtype=np.uint8))
    image = Image.fromarray(rng.integers(0, 9999, (61, 83), dtype=np.uint16)) if mode == "I;16" else image.convert(mode)
    image.getexif()[0x0112] = turn
    whole = np.asarray(read_rgb(image))
    monkeypatch.setattr("clipshelf.model.image_tiles._TILE_PIXELS", 700 if turn % 2 else 100)
    monkeypatch.setattr("clipshelf.model.image_shrinking._SHRUNK_FROM", 1)
    np.testing.assert_array_equal(np.asarray(read_rgb(image)), whole)
    upright = ImageOps.exif_transpose(image)
    pasted = Image.new(upright.mode, upright.size)
    parts = list(tiles(image, turn, (4, 3)))
    assert len(parts) > 5
    for (left, top), part in parts:
        assert left % 4 == top % 3 == 0
        pasted.paste(part, (left, top))
    np.testing.assert_array_equal(np.asarray(pasted), np.asarray(upright))
    for resize in ("shortest", "pad", "squash"):
        reader = ImageReader(ImageSpec(size=9, resize=resize, resize_to=9, resample="bicubic"))
        small = reader.read(image)
        with monkeypatch.context() as patch:
            patch.setattr("clipshelf.model.image_shrinking._SHRUNK_FROM", 1 << 20)
            np.testing.assert_array_equal(reader.read(image), small)


# Primaries of Display P3 and of Adobe RGB (1998), adapted to D50, as their profiles have them.
DISPLAY_P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
ADOBE_RGB = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]


def colours() -> Pixels:
    colours = np.array([[(200, 60, 40), (60, 160, 80)], [(70, 80, 190), (128, 128, 128)]], np.uint8)
    return colours.repeat(16, 0).repeat(16, 1)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("primaries", [DISPLAY_P3, ADOBE_RGB])
def test_fast_decoding_converts_wide_colours_to_srgb(format_: str, primaries: list[tuple[float, ...]]) -> None:
    profile = with_primaries(primaries)
    wide = ImageCms.profileToProfile(
        Image.fromarray(colours()), ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    )
    assert wide is not None
    options = {"quality": 100} if format_ in ("JPEG", "WEBP") else {}
    data = encode(wide, format_, icc_profile=profile, **options)
    spec = ImageSpec(size=32, resize="shortest", resize_to=32, resample="bicubic")
    centres = np.ix_([8, 24], [8, 24])
    fast, exact = (ImageReader(spec, decode).read(data)[centres].astype(int) for decode in ("fast", "exact"))
    assert np.abs(fast - colours()[centres]).max() <= 4
    assert np.abs(exact - np.asarray(wide)[centres]).max() <= 4  # as transformers does
    assert np.abs(exact - colours()[centres]).max() > 15
    opened = Image.open(io.BytesIO(data))
    assert np.abs(ImageReader(spec).read(opened)[centres].astype(int) - colours()[centres]).max() <= 4


@pytest.mark.parametrize("profile", [None, b"", b"garbage", bytes(200), with_primaries(SRGB), "sRGB", "gray"])
def test_pictures_without_wide_colours_stay_as_they_are(profile: Any) -> None:
    if profile == "sRGB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    elif profile == "gray":  # of other colours than the picture has
        profile = with_primaries(SRGB).replace(b"RGB XYZ ", b"GRAYXYZ ", 1)
    spec = ImageSpec(size=32, resize="shortest", resize_to=32, resample="bicubic")
    data = encode(Image.fromarray(colours()), "PNG", **({} if profile is None else {"icc_profile": profile}))
    np.testing.assert_array_equal(ImageReader(spec).read(data), colours())


def test_a_profile_leaves_white_and_gray_as_they_are() -> None:
    spec = ImageSpec(size=16, resize="pad", resize_to=16, resample="bicubic")
    clear = Image.new("RGBA", (16, 8), (0, 0, 0, 0))
    data = encode(clear, "PNG", icc_profile=with_primaries(DISPLAY_P3))
    assert (ImageReader(spec).read(data) == 255).all()
    gray = encode(halves("L"), "JPEG", icc_profile=with_primaries(DISPLAY_P3))
    plain = encode(halves("L"), "JPEG")
    np.testing.assert_array_equal(ImageReader(spec).read(gray), ImageReader(spec).read(plain))
