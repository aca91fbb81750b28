"""Golden pixels: a wide picture of six colours, stored in every kind of file, shows them whichever way it is read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import TypeAlias, get_args

import numpy as np
import pytest
from clipshelf.model.artifact import ImageSpec, Resize
from clipshelf.model.image import Decode, ImageReader
from clipshelf.types import Pixels
from PIL import Image
from support.pictures import encode

Kind: TypeAlias = tuple[Callable[[], bytes], Pixels, int]  # file, colours that it shows, levels that they may be off

WIDTH, HEIGHT = 192, 128
TILES = np.array([[(255, 0, 0), (0, 153, 51), (51, 51, 204)], [(255, 255, 255), (0, 0, 0), (204, 153, 102)]], np.uint8)
GRAY = (TILES @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)[..., None].repeat(3, 2)  # ITU-R 601
BLACK_OR_WHITE = np.where(GRAY > 127, 255, 0).astype(np.uint8)
ALPHA = np.array([[255] * 3, [64] * 3], np.uint8)
OVER_WHITE = np.rint(255 - ALPHA[..., None] / 255 * (255.0 - TILES)).astype(np.uint8)
GRAY_OVER_WHITE = np.rint(255 - ALPHA[..., None] / 255 * (255.0 - GRAY)).astype(np.uint8)
# Rows and columns in the middle of each tile, for each way to bring a picture of 192 x 128 to a square of 32.
PROBES: dict[Resize, tuple[list[int], list[int]]] = {
    "shortest": ([8, 24], [4, 16, 28]),
    "pad": ([11, 21], [5, 16, 27]),
    "squash": ([8, 24], [5, 16, 27]),
}


def spread(tiles: Pixels, width: int = WIDTH) -> Pixels:
    """(2, 3) or (2, 3, channels) as a picture that is 3 wide and 2 high."""
    return tiles.repeat(width // 3, 0).repeat(width // 3, 1)


def kind(mode: str, format_: str, tiles: Pixels, off: int, **options: object) -> Kind:
    """The picture in a mode that Pillow converts RGBA to; the mode says whether `ALPHA` is kept."""

    def file() -> bytes:
        image = Image.fromarray(np.dstack((spread(TILES), spread(ALPHA))))
        image = image if "A" in mode else image.convert("RGB")
        return encode(image if image.mode == mode else image.convert(mode), format_, **options)

    return file, tiles, off


def inks() -> Image.Image:
    """The picture in CMYK with all the black that it can have, which Pillow's own conversion leaves out."""
    light = TILES.max(2, keepdims=True)
    cmy = np.rint(255 - TILES * 255.0 / np.maximum(light, 1)).astype(np.uint8)
    return Image.frombytes("CMYK", (WIDTH, HEIGHT), spread(np.dstack((cmy, 255 - light))).tobytes())


def ycck() -> bytes:
    """As Photoshop writes it: YCbCr of CMY, inverted black. Made from a CMYK JPEG, of which Pillow inverts all four."""
    *cmy, black = inks().split()
    ycc = [channel.point(lambda value: 255 - value) for channel in Image.merge("RGB", cmy).convert("YCbCr").split()]
    data = bytearray(encode(Image.merge("CMYK", (*ycc, black)), "JPEG", quality=95))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0  # CMYK
    data[transform] = 2
    return bytes(data)


def deep_png(colour_type: int, tiles: Pixels) -> bytes:
    """16 bits of each of `tiles` (2, 3, channels), which Pillow only writes of gray; https://www.w3.org/TR/png/"""
    rows = spread(tiles).astype(">u2") * 257
    data = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour_type, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        png += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return png


def deep_tiff() -> bytes:
    return encode(Image.fromarray(spread(GRAY[..., 0]).astype(np.uint16) * 257), "TIFF")


def animation(format_: str, **options: object) -> bytes:
    frames = [Image.fromarray(spread(tiles)) for tiles in (TILES, 255 - TILES, TILES[::-1])]
    return encode(frames[0], format_, save_all=True, append_images=frames[1:], duration=40, **options)


def turned(orientation: int) -> bytes:
    """Stored so that the EXIF orientation puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = spread(TILES)
    picture = picture.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else picture
    picture = picture[::-1] if orientation in (3, 4, 6, 7) else picture
    picture = picture[:, ::-1] if orientation in (2, 3, 7, 8) else picture
    return encode(Image.fromarray(np.ascontiguousarray(picture)), "JPEG", quality=95, exif=exif)


KINDS: dict[str, Kind] = {
    "JPEG": kind("RGB", "JPEG", TILES, 3, quality=95),
    "progressive JPEG": kind("RGB", "JPEG", TILES, 3, quality=95, progressive=True),
    "gray JPEG": kind("L", "JPEG", GRAY, 2, quality=95),
    "CMYK JPEG": (lambda: encode(inks(), "JPEG", quality=95), TILES, 3),
    "YCCK JPEG": (ycck, TILES, 4),
    "JPEG of 12 megapixels": (lambda: encode(Image.fromarray(spread(TILES, 4200)), "JPEG"), TILES, 3),
    **{f"JPEG turned {i}": (lambda i=i: turned(i), TILES, 3) for i in range(1, 9)},  # type: ignore[misc]
    "PNG": kind("RGB", "PNG", TILES, 0),
    "gray PNG": kind("L", "PNG", GRAY, 1),
    "1-bit PNG": (lambda: encode(Image.fromarray(spread(BLACK_OR_WHITE)).convert("1"), "PNG"), BLACK_OR_WHITE, 0),
    "1-bit fax": (
        lambda: encode(Image.fromarray(spread(BLACK_OR_WHITE)).convert("1"), "TIFF", compression="group4"),
        BLACK_OR_WHITE,
        0,
    ),
    "palette PNG": kind("P", "PNG", TILES, 0),
    "palette GIF": kind("P", "GIF", TILES, 0),
    "transparent PNG": kind("RGBA", "PNG", OVER_WHITE, 1),
    "transparent WEBP": kind("RGBA", "WEBP", OVER_WHITE, 1, lossless=True),
    "transparent gray PNG": kind("LA", "PNG", GRAY_OVER_WHITE, 1),
    "16-bit gray PNG": (lambda: deep_png(0, GRAY[..., :1]), GRAY, 0),
    "16-bit gray TIFF": (deep_tiff, GRAY, 0),
    "16-bit PNG": (lambda: deep_png(2, TILES), TILES, 0),
    "16-bit transparent gray PNG": (lambda: deep_png(4, np.dstack((GRAY[..., :1], ALPHA))), GRAY_OVER_WHITE, 1),
    "16-bit transparent PNG": (lambda: deep_png(6, np.dstack((TILES, ALPHA))), OVER_WHITE, 1),
    "CMYK TIFF": (lambda: encode(inks(), "TIFF"), TILES, 1),
    "animated GIF": (lambda: animation("GIF"), TILES, 0),
    "animated PNG": (lambda: animation("PNG"), TILES, 0),
    "animated WEBP": (lambda: animation("WEBP", lossless=True), TILES, 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_shows_its_colours(name: str) -> None:
    file, tiles, off = KINDS[name]
    data = file()
    for resize, probes in PROBES.items():
        spec = ImageSpec(size=32, resize=resize, resize_to=32, resample="bicubic")
        for decode in get_args(Decode):
            pixels = ImageReader(spec, decode).read(data).astype(int)
            shown = pixels[np.ix_(*probes)]
            assert np.abs(shown - tiles).max() <= off, (resize, decode, shown.tolist())
            if resize == "pad":
                assert (pixels[[0, 4, 27, 31]] == 255).all()
