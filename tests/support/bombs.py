"""Makers of crafted pictures: small files that would cost gigabytes or minutes, or start a program."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import partial

from PIL import Image
from support.pictures import encode

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, bits: int = 8, colours: int = 2, *, side: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG of zeros; `side` stands before its pixels."""
    row = bytes(1 + -(-width * _CHANNELS[colours] * bits // 8))
    packer = zlib.compressobj(9)
    rows = [packer.compress(row * 64) for _ in range(-(-height // 64))]
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced)
    palette = png_chunk(b"PLTE", bytes(3)) if colours == 3 else b""
    pixels = png_chunk(b"IDAT", b"".join(rows) + packer.flush())
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + palette + side + pixels + png_chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """A zlib stream of zeros, a thousandth of their size."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(megabytes)]) + packer.flush()


def png_with_texts() -> bytes:
    """64 texts and profiles of 64 MB each."""
    packed = zeros(64)
    chunks = [
        png_chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
        png_chunk(b"iCCP", b"p\0\0" + packed),
    ]
    return png(64, 64, side=b"".join(chunks * 21))


def png_of_chunks(count: int = 300_000) -> bytes:
    return png(8, 8, side=png_chunk(b"teSt", b"") * count)


def webp(width: int, height: int) -> bytes:
    """A lossless WebP of 40 bytes."""
    bits = (width - 1) | (height - 1) << 14
    body = b"\x2f" + struct.pack("<I", bits) + b"\x88\x88\x08" + bytes(6)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body + bytes(6)


def animated_webp(canvas: int) -> bytes:
    """A WebP whose only frame is a pixel of a huge canvas."""
    edge = struct.pack("<I", canvas - 1)[:3]
    lossless = encode(Image.new("RGB", (1, 1)), "WEBP", lossless=True)[12:]
    frame = bytes(6) + bytes(6) + b"\x64\0\0" + b"\0" + lossless
    chunks = [(b"VP8X", b"\x02\0\0\0" + edge + edge), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(width: int, height: int, left: int = 0, comments: int = 0, control: bytes = b"") -> bytes:
    """A GIF of 35 bytes, with megabytes of comments before its frame."""
    comment = b"!\xfe" + (b"\xff" + bytes(255)) * (comments << 12) + b"\0" if comments else b""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + comment + control + b"," + struct.pack("<HHHHB", left, 0, width, height, 0) + b"\2\2\x44\1\0;"


def jpeg(width: int, height: int, **options: object) -> bytes:
    """A JPEG of 64 pixels that says it has more."""
    data = bytearray(encode(Image.new("RGB", (64, 64)), "JPEG", **options))
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_scans(scans: int, width: int = 4000, height: int = 3000) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encode(Image.new("RGB", (width, height)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - data[:last].count(b"\xff\xda")) + data[-2:]


def jpeg_of_padding(size: int = 30 << 20) -> bytes:
    data = encode(Image.new("RGB", (64, 64), "red"), "JPEG")
    return data[:2] + b"\xff" * size + data[2:]


def jpeg_of_segments(segment: bytes, count: int, *, after_scan: bool = False) -> bytes:
    """A small progressive JPEG with a segment over and over, before its frame or after its scans."""
    data = jpeg(64, 64, progressive=True)
    if after_scan:  # with more scans than are allowed, as a quick count has it
        return data[:-2] + segment * count + b"\xff\xda" * 200 + data[-2:]
    return data[:2] + segment * count + data[2:]


def jpeg_of_tables(count: int = 1000) -> bytes:
    """Quantization tables, of which a decoder in Python unpacks each."""
    data = encode(Image.new("RGB", (64, 64), "red"), "JPEG")
    tables = b"\xff\xdb\xff\xe4" + (b"\0" + bytes([1] * 64)) * 1007 + bytes(7)
    return data[:2] + tables * count + data[2:]


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes = b"") -> bytes:
    """A TIFF of one directory; `tags` are (type, count, value or offset)."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def tiff_of(width: int, height: int, compression: int = 1, data: bytes = b"", **more: tuple[int, int, int]) -> bytes:
    """An RGB TIFF of one strip; more tags by their numbers, as `_322`."""
    tags = {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, compression), 262: (3, 1, 1),
        273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(data)),
    }  # fmt: skip
    return tiff(tags | {int(name[1:]): entry for name, entry in more.items()}, data)


def tiff_of_tags(size: int = 4 << 20) -> bytes:
    """9,000 tags that point to the same megabytes."""
    tags = dict.fromkeys(range(40000, 49000), (1, size, 8))
    return tiff({256: (4, 1, 8), 257: (4, 1, 8), 273: (4, 1, 8), 279: (4, 1, 64), **tags}, bytes(size))


def tiff_of_strips(count: int = 500_000) -> bytes:
    """A TIFF of one column, with a strip for each row."""
    tables = struct.pack(f"<{count}I", *[8] * count) + struct.pack(f"<{count}I", *[1] * count)
    offsets, sizes = (4, count, 8), (4, count, 8 + 4 * count)
    return tiff_of(1, count, data=tables, _273=offsets, _278=(4, 1, 1), _279=sizes)


def bmp(width: int, height: int, compression: int = 0, data: bytes = b"") -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(data), 0, 0, 54 + 1024) + header + bytes(1024) + data


def jpeg_xl(edge_bits: int = 30) -> bytes:
    """A JPEG XL of a billion pixels on each edge."""
    bits = 0 | 3 << 1 | ((1 << edge_bits) - 1) << 3 | 1 << 33
    return b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(8)


def avif(edge: int) -> bytes:
    """An AVIF that says it is larger, in its item property and in its codestream's configuration alike."""
    data = bytearray(encode(Image.new("RGB", (64, 64)), "AVIF"))
    position = data.index(b"ispe") + 8
    data[position : position + 8] = struct.pack(">II", edge, edge)
    return bytes(data)


def eps_in_iptc(marker: str) -> bytes:
    """An IPTC wrapper of a PostScript program that writes a file, which Pillow hands to Ghostscript."""
    program = (
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
        f"({marker}) (w) file closefile showpage\n%%EOF\n"
    ).encode()

    def field(record: int, number: int, body: bytes) -> bytes:
        return bytes((0x1C, record, number)) + struct.pack(">H", len(body)) + body

    sizes = field(3, 20, b"\0\x08") + field(3, 30, b"\0\x08")
    head = field(3, 60, b"\1\0") + field(3, 65, b"\0") + sizes + field(3, 120, b"\1")
    return head + field(8, 10, program)


BOMBS: dict[str, Callable[[], bytes]] = {
    "16-bit gray PNG of 120 megapixels": lambda: png(12000, 10000, 16, 0),
    "16-bit gray PNG below the limit": lambda: png(8000, 6200, 16, 0),
    "16-bit transparent PNG": lambda: png(8000, 6000, 16, 6),
    "transparent PNG of 144 megapixels": lambda: png(12000, 12000, 8, 6),
    "transparent PNG below the limit": lambda: png(8000, 6200, 8, 6),
    "interlaced PNG": lambda: png(8000, 6200, 8, 6, interlaced=True),
    "palette PNG": lambda: png(8000, 6200, 8, 3, side=png_chunk(b"tRNS", b"\0")),
    "thin transparent PNG": lambda: png(40, 1_000_000, 8, 6),
    "wide transparent PNG": lambda: png(1_000_000, 40, 8, 6),
    "PNG of one row": lambda: png(49_999_999, 1, 8, 2),
    "gray PNG of one row": lambda: png(49_999_999, 1, 8, 0),
    "PNG of one column": lambda: png(1, 30_000_000, 8, 2),
    "PNG with texts of gigabytes": png_with_texts,
    "PNG of 300,000 chunks": png_of_chunks,
    "WebP of 40 bytes": lambda: webp(16383, 16383),
    "WebP below the limit": lambda: webp(3600, 3600),
    "WebP with a huge canvas": lambda: animated_webp(1 << 24),
    "WebP with a large canvas": lambda: animated_webp(3600),
    "GIF of 35 bytes": lambda: gif(65535, 65535),
    "GIF below the limit": lambda: encode(Image.new("P", (7000, 7000)), "GIF"),
    "GIF with a shifted frame": lambda: gif(7000, 7000, left=60000),
    "GIF with disposal": lambda: gif(7000, 7000, control=b"!\xf9\4\x09\0\0\0\0"),
    "GIF with 40 MB of comments": lambda: gif(1, 1, comments=40),
    "JPEG of 1,000 scans": lambda: jpeg_of_scans(1000),
    "JPEG of 100 scans": lambda: jpeg_of_scans(100),
    "large JPEG of 100 scans": lambda: jpeg_of_scans(100, 9000, 7000),
    "JPEG of 4 gigapixels": lambda: jpeg(65500, 65500),
    "JPEG cut short of 240 megapixels": lambda: jpeg(16000, 15000),
    "progressive JPEG of 240 megapixels": lambda: jpeg(16000, 15000, progressive=True),
    "progressive JPEG cut short": lambda: jpeg(8000, 6000, progressive=True),
    "JPEG with 30 MB of padding": jpeg_of_padding,
    "JPEG with a million tables": jpeg_of_tables,
    "JPEG with two million restart intervals": partial(jpeg_of_segments, b"\xff\xdd\0\4\0\1", 2_000_000),
    "JPEG with three million empty segments": partial(jpeg_of_segments, b"\xff\xe5\0\2", 3_000_000),
    "JPEG with six million restarts": partial(jpeg_of_segments, b"\xff\xd0", 6_000_000, after_scan=True),
    "JPEG with tables behind its scans": partial(jpeg_of_segments, b"\xff\xc4\0\2", 3_000_000, after_scan=True),
    "TIFF of nothing": lambda: tiff_of(60000, 60000),
    "TIFF of zeros": lambda: tiff_of(7000, 7000, 8, zeros(47)),
    "TIFF of LZW": lambda: tiff_of(7000, 7000, 5, b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01"),
    "TIFF of a huge tile": lambda: tiff_of(64, 64, 8, zeros(1), _322=(4, 1, 60000), _323=(4, 1, 60000),
                                           _324=(4, 1, 8), _325=(4, 1, 1000)),
    "TIFF of 9,000 large tags": tiff_of_tags,
    "TIFF of 500,000 strips": tiff_of_strips,
    "TIFF of faxes": lambda: tiff_of(50000, 1000, 4, bytes(1000)),
    "BMP of nothing": lambda: bmp(60000, 60000),
    "BMP of run lengths": lambda: bmp(7000, 7000, 1, b"\1\0" * 500_000),
    "BMP of half a million runs": lambda: bmp(2000, 2000, 2, (b"\xff\x12" * 7 + b"\xd7\x34\0\0") * 50_000),
    "BMP of empty rows": lambda: bmp(2000, 2000, 1, b"\0\2\xff\xff" * 250_000),
    "AVIF of a gigapixel": lambda: avif(32000),
    "AVIF below the limit": lambda: avif(3500),
    "JPEG XL of an exapixel": jpeg_xl,
}  # fmt: skip
