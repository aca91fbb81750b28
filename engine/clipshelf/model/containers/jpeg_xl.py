"""JPEG XL (ISO/IEC 18181) up to its size: the plugin decodes all pixels as soon as it opens a file."""

from __future__ import annotations

from clipshelf.model.containers.container import BrokenPictureError, Container, Size, unpack
from clipshelf.model.image_limits import ImageLimits

CODESTREAM = b"\xff\x0a"
_BOX_HEADER = 8
_PARTIAL_INDEX = 4
_JPEG_BOX = b"jbrd"
# 18181-1, table D.2: widths of the fields of a dimension, and the ratios of width to height.
_WIDTHS = (9, 13, 18, 30)
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
# Measured up to 9; libjxl has modes that need float32 of four components beside what it hands over.
_BYTES_PER_PIXEL = 20


class _Bits:
    """Reads little-endian fields of bits."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def read(self, width: int) -> int:
        value = self._value & ((1 << width) - 1)
        self._value >>= width
        return value


def inspect(data: bytes, limits: ImageLimits) -> Container:  # noqa: ARG001  (as the other formats)
    """Read the size of a JPEG XL. Raises BrokenPictureError."""
    size = _size(_codestream(data))
    # A JPEG that was packed is unpacked as it was, and EXIF says how to turn it. Any other JPEG XL is turned by libjxl.
    is_jpeg = not data.startswith(CODESTREAM) and _JPEG_BOX in data
    turn = None if is_jpeg else 1
    return Container((data,), size, turn, bytes_per_pixel=_BYTES_PER_PIXEL, decoded_when_opened=True)


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream, which may lie in a box, whole or in parts."""
    if data.startswith(CODESTREAM):
        return data[:16]
    position = 0
    while position + _BOX_HEADER <= len(data):
        (size,) = unpack(">I", data, position)
        kind, body = data[position + 4 : position + 8], position + _BOX_HEADER
        if size == 1:
            (size,) = unpack(">Q", data, body)
            body += 8
        if kind in (b"jxlc", b"jxlp"):
            body += _PARTIAL_INDEX if kind == b"jxlp" else 0
            return data[body : body + 16]
        if size < _BOX_HEADER:
            break
        position += size
    raise BrokenPictureError("it has no codestream")


def _size(codestream: bytes) -> Size:
    if not codestream.startswith(CODESTREAM):
        raise BrokenPictureError("it has no codestream")
    bits = _Bits(codestream[2:])
    small = bits.read(1)

    def dimension() -> int:
        return 8 * (bits.read(5) + 1) if small else bits.read(_WIDTHS[bits.read(2)]) + 1

    height = dimension()
    ratio = bits.read(3)
    if not ratio:
        return dimension(), height
    across, down = _RATIOS[ratio]
    return height * across // down, height
