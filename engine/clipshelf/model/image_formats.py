"""Formats of pictures: how a file is recognised, what it is called, and what opens it.

A file is opened by the plugin of the format that its first bytes show, and by no other. `Image.open` without `formats`
would try them all, also those that start an interpreter or open what is wrapped in another file.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

from PIL import Image, ImageFile, UnidentifiedImageError

from clipshelf.model.containers import bmp, gif, isobmff, jpeg, jpeg_xl, png, tiff, webp
from clipshelf.model.containers.container import BrokenPictureError, Container
from clipshelf.model.image_limits import ImageLimits

Inspect: TypeAlias = Callable[[bytes, ImageLimits], Container]

# Pillow's name of a format: what reads its header, and the class that opens it, in the first module that there is.
_DECODERS: dict[str, tuple[Inspect, str, tuple[str, ...]]] = {
    "JPEG": (jpeg.inspect, "JpegImageFile", ("PIL.JpegImagePlugin",)),
    "PNG": (png.inspect, "PngImageFile", ("PIL.PngImagePlugin",)),
    "WEBP": (webp.inspect, "WebPImageFile", ("PIL.WebPImagePlugin",)),
    "GIF": (gif.inspect, "GifImageFile", ("PIL.GifImagePlugin",)),
    "TIFF": (tiff.inspect, "TiffImageFile", ("PIL.TiffImagePlugin",)),
    "BMP": (bmp.inspect, "BmpImageFile", ("PIL.BmpImagePlugin",)),
    "AVIF": (isobmff.inspect_avif, "AvifImageFile", ("PIL.AvifImagePlugin",)),
    "HEIF": (isobmff.inspect_heif, "HeifImageFile", ("pi_heif", "pillow_heif")),
    "JXL": (jpeg_xl.inspect, "JXLImageFile", ("pillow_jxl.JpegXLImagePlugin",)),
}
# What is called differently from Pillow's name of it, and what is missing where it cannot be opened.
_TITLES = {"HEIF": "HEIC", "JXL": "JPEG XL", "WEBP": "WebP", "JPEG2000": "JPEG 2000"}
_MISSING = {
    "AVIF": "needs Pillow 11.3 or later",
    "HEIF": "needs a plugin: pip install 'clipshelf[formats]'",
    "JXL": "needs a plugin: pip install pillow-jxl-plugin",
}

_REFUSED = {
    "EPS": "EPS, which is not decoded but run",
    "IPTC": "IPTC, which may hold a file that is not decoded but run",
    "WMF": "WMF or EMF, which is not decoded but drawn by Windows",
}
# What Pillow decodes besides, often in Python, and the memory that is assumed for a pixel of it.
_RARE = ("JPEG2000", "PSD", "ICO", "CUR", "ICNS", "DDS", "QOI", "FITS", "BLP", "XPM", "PPM")
_RARE_BYTES_PER_PIXEL = 20

_SIGNATURES: list[tuple[int, bytes, str]] = [
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WEBP"),
    (0, jpeg_xl.CODESTREAM, "JXL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xffO\xffQ", "JPEG2000"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "PSD"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"icns", "ICNS"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"BLP1", "BLP"),
    (0, b"BLP2", "BLP"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF", "WMF"),
    (0, b"/* XPM */", "XPM"),
    (0, b"gimp xcf", "XCF, a project of GIMP"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"OggS", "an Ogg file"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"\0\5\x16\7", "an AppleDouble file, which macOS writes beside the picture"),
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the file first"),
]
# Brands of ISO base media files (ISO/IEC 14496-12), the first of which stands at byte 8.
_BRANDS: dict[str, set[bytes]] = {
    "AVIF": {b"avif", b"avis"},
    "HEIF": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"},
    "Canon CR3, a raw photo": {b"crx "},
    "an MP4 or QuickTime video": {b"qt  ", b"isom", b"iso2", b"mp41", b"mp42", b"M4V ", b"avc1", b"3gp4", b"3gp5"},
}
_TEXT = rb"(?:\xef\xbb\xbf)?\s*"
_PATTERNS = [
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), name)
    for pattern, name in (
        (rb"\x1c[\x01-\x09]", "IPTC"),
        (rb"(?-i:P[1-7f])\s", "PPM"),
        (_TEXT + rb"<(?:!doctype html|html|head|body|title)", "HTML, a web page"),
        (_TEXT + rb"<.*<svg[\s>]|" + _TEXT + rb"<svg[\s>]", "SVG"),
        (_TEXT + rb"<(?:\?xml|[a-z]+[ >])", "XML"),
        (_TEXT + rb"[{\[]\s*[\"{\[}\]]", "JSON"),
    )
]
_HEAD = 1024


def recognise(data: bytes) -> str | None:
    """Pillow's name of the format of a file, else what the file is; None for bytes of no known format."""
    if not data:
        return "an empty file"
    head = data[:_HEAD]
    for position, signature, name in _SIGNATURES:
        if head[position : position + len(signature)] == signature:
            return name
    if head[4:8] == b"ftyp":
        return _media_format(head)
    if not any(head):
        return "nothing but zeros"
    return next((name for pattern, name in _PATTERNS if pattern.match(head)), None)


class UnknownFormatError(ValueError):
    """Bytes of no known format."""


def decodable_formats(data: bytes, limits: ImageLimits) -> tuple[str, ...]:
    """Pillow's names of the formats that a file may have.

    One, as a rule; all that were asked for beside those that are known here, where the file shows none of them.
    Raises UnknownFormatError, or ValueError that names a format which is not decoded.
    """
    name = recognise(data)
    if name is not None and name in limits.formats:
        if name in _DECODERS and _factory(name) is None:
            raise ValueError(f"{title(name)}, which {_MISSING.get(name, 'this Pillow does not decode')}")
        return (name,)
    if name is not None:
        raise ValueError(describe_refused(name))
    others = tuple(format_ for format_ in limits.formats if format_ not in _DECODERS)
    if not others:
        raise UnknownFormatError("bytes of no known format")
    return others


def describe_refused(name: str) -> str:
    """What a file or picture is, and why it is not decoded."""
    if name in _REFUSED:
        return _REFUSED[name]
    if name in _DECODERS or name in _RARE:
        return f"{title(name)}, which is decoded only where ImageLimits.formats asks for {name}"
    return f"{name}, which is not decoded" if name.isalpha() else name


def title(name: str) -> str:
    """What a format is called in messages."""
    return _TITLES.get(name, name)


def inspect(name: str, data: bytes, limits: ImageLimits) -> Container:
    """Read a file of a format up to its pixels. Raises BrokenPictureError or LimitError."""
    if name in _DECODERS:
        return _DECODERS[name][0](data, limits)
    return Container((data,), orientation=None, bytes_per_pixel=_RARE_BYTES_PER_PIXEL)


def open_picture(names: tuple[str, ...], stream: Any) -> ImageFile.ImageFile:
    """Open a file with the plugin of its format, which reads its header. Raises whatever the plugin raises."""
    name = names[0]
    if name not in _DECODERS:
        try:
            return Image.open(stream, formats=names)
        except UnidentifiedImageError:
            raise BrokenPictureError("its header is damaged") from None
    factory = _factory(name)
    if factory is None:
        raise ValueError(f"no decoder of {title(name)}")
    return factory(stream)


@cache
def _factory(name: str) -> Callable[[Any], ImageFile.ImageFile] | None:
    _, cls, modules = _DECODERS[name]
    for module in modules:
        try:
            plugin = import_module(module)
        except ImportError:
            continue
        if name == "TIFF":
            _silence_libtiff()
        if getattr(plugin, "SUPPORTED", True) and hasattr(plugin, cls):
            factory: Callable[[Any], ImageFile.ImageFile] = getattr(plugin, cls)
            return factory
    return None


def _silence_libtiff() -> None:
    """Take its handlers from libtiff, which would print the faults of a file to the terminal of whoever runs us.

    Pillow has no option for this. Its errors still reach us as exceptions.
    """
    try:
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
    except (AttributeError, OSError):  # a Pillow whose libtiff is linked in: it prints
        return


def _media_format(head: bytes) -> str:
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[position : position + 4] for position in range(16, min(size, len(head)), 4))]
    if {b"avif", b"avis"} & set(brands) and brands[0] in _BRANDS["AVIF"] | {b"mif1", b"msf1"}:
        return "AVIF"
    for brand in brands:
        for name, known in _BRANDS.items():
            if brand in known:
                return name
    return f"a media file of brand {brands[0].decode('latin-1').strip()!r}"
