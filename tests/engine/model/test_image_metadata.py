"""Damaged and large metadata beside good pixels, which are read."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from clipshelf.model.containers.metadata import inflate, orientation
from clipshelf.model.image_decoding import read_rgb
from clipshelf.model.image_limits import ImageLimits
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.bombs import png_chunk
from support.pictures import encode, halves

DAMAGED = {
    "garbage": bytes.fromhex("0008000201120003"),
    "zeros": bytes(40),
    "four bytes": b"II*\0",
    "empty": b"",
    "no directory": b"II*\0\xff\xff\xff\xff",
    "endless directory": b"II*\0\x08\0\0\0\xff\xff" + bytes(30),
    "orientation of 9": b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0) + bytes(4),
}


def exif_of(turn: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, turn, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def upright(data: bytes) -> bool:
    pixels = np.asarray(read_rgb(data)).astype(int)
    return pixels.shape == (8, 16, 3) and bool(pixels[4, 2, 0] > 200) and bool(pixels[4, 13, 2] > 200)


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_left_out(format_: str, name: str, recwarn: pytest.WarningsRecorder) -> None:
    for more in ({}, {"dpi": (72, 72)}):
        data = encode(halves(), format_, exif=b"Exif\0\0" + DAMAGED[name], **more)
        recwarn.clear()  # Pillow warns when it writes some of them
        assert upright(data)
    assert not recwarn.list


def _avif_with_damaged_exif() -> bytes:
    """Pillow writes no damaged EXIF into an AVIF: it is damaged in the file."""
    exif = Image.Exif()
    exif[0x010E] = "a description"
    try:
        data = encode(halves(), "AVIF", exif=exif)
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no AVIF")
    position = data.index(b"a description") - 20
    return data[:position] + b"\xff" * 20 + data[position + 20 :]


def test_damaged_exif_of_an_avif_is_left_out() -> None:
    assert upright(_avif_with_damaged_exif())


def test_exif_of_imagemagick_is_read_or_left_out() -> None:
    for text, is_upright in (
        ("\nexif\n      20\nzz", True),
        ("\nexif\n  32\n" + exif_of(3).hex(), False),
        ("exif", True),
    ):
        note = PngInfo()
        note.add_text("Raw profile type exif", text)
        assert upright(encode(halves(), "PNG", pnginfo=note)) == is_upright


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_applied_as_pillow_does(format_: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(Image.effect_noise((12, 7), 90).convert("RGB"), format_, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(read_rgb(data)), expected)


def test_orientation_stands_in_exif_of_both_byte_orders_else_in_xmp() -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    assert [orientation(exif_of(turn, order)) for turn in (1, 6, 8) for order in "<>"] == [1, 1, 6, 6, 8, 8]
    assert orientation(None, xmp) == 6 and orientation(exif_of(3), xmp) == 3
    assert orientation(b"garbage", xmp) == 6 and orientation(None, b"<tiff:Orientation>9<") == 1
    data = encode(halves(), "JPEG")
    packet = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + data[2:]
    assert read_rgb(turned).size == (8, 16)
    note = PngInfo()
    note.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    assert read_rgb(encode(halves(), "PNG", pnginfo=note)).size == (8, 16)


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt", "iCCP", "eXIf"])
def test_large_metadata_of_a_png_is_left_out(kind: str) -> None:
    note, more, large = PngInfo(), {}, 20 << 20
    if kind == "iCCP":
        more["icc_profile"] = bytes(large)
    elif kind == "eXIf":
        more["exif"] = exif_of(1) + bytes(large)
    elif kind == "iTXt":
        note.add_itxt("XML:com.adobe.xmp", "x" * large, zip=True)
    else:
        note.add_text("Raw profile type exif", "x" * large, zip=kind == "zTXt")
    assert upright(encode(halves(), "PNG", pnginfo=note, **more))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], data[position : position + 12 + length]
        position += 12 + length


@pytest.mark.parametrize("kind", [b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"acTL", b"fcTL", b"tRNS", b"iCCP", b"tEXt"])
def test_damaged_chunks_beside_the_pixels_are_left_out(kind: bytes) -> None:
    data = encode(halves(), "PNG")
    for chunk in (png_chunk(kind, b"\1"), png_chunk(kind, bytes(80)), png_chunk(kind, b"x" * 9)[:-1] + b"!"):
        for place in (b"IDAT", b"IEND"):
            parts = [chunk + whole if name == place else whole for name, whole in _chunks(data)]
            assert upright(data[:8] + b"".join(parts)), (kind, place)


def test_damaged_segments_of_a_jpeg_are_left_out() -> None:
    data = encode(halves(), "JPEG")
    for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE):
        for body in (b"", b"JFIF\0", b"Adobe", b"ICC_PROFILE\0", b"MPF\0" + bytes(9), b"Photoshop 3.0\x008BIM\xff"):
            segment = bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body
            assert upright(data[:2] + segment + data[2:]), (marker, body)
            assert upright(data[:2] + b"\xff\xff\xff\0\0" + segment * 3 + data[2:]), (marker, body)


def test_damaged_tags_of_a_tiff_are_left_out(recwarn: pytest.WarningsRecorder) -> None:
    data = encode(halves(), "TIFF", compression="tiff_lzw", exif=exif_of(1), dpi=(72, 72), icc_profile=bytes(9))
    offset, count = struct.unpack_from("<I", data, 4)[0], 0
    (count,) = struct.unpack_from("<H", data, offset)
    entries = [data[offset + 2 + 12 * index :][:12] for index in range(count)]
    damaged = [struct.pack("<HHII", tag, 7, 1 << 30, 1 << 30) for tag in (33723, 34377, 34665, 34853, 37724, 65000)]
    doubled = struct.pack("<HHII", 262, 3, 3, len(data))  # three values where one is expected
    entries = sorted([entry if entry[:2] != b"\x06\1" else doubled for entry in entries] + damaged)
    extra = struct.pack("<HHH", 2, 2, 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    file = data[:4] + struct.pack("<I", len(data) + len(extra)) + data[8:] + extra + directory
    assert upright(file)
    assert not recwarn.list


def test_metadata_is_unpacked_up_to_a_limit() -> None:
    import zlib

    assert inflate(zlib.compress(bytes(100)), 100) == bytes(100)
    assert inflate(zlib.compress(bytes(101)), 100) is None
    assert inflate(b"no zlib", 100) is None
    note = PngInfo()
    note.add_itxt("XML:com.adobe.xmp", '<tiff:Orientation="6"' + " " * 1000, zip=True)
    data = encode(halves(), "PNG", pnginfo=note)
    assert read_rgb(data).size == (8, 16) and read_rgb(data, ImageLimits(metadata_bytes=500)).size == (16, 8)
