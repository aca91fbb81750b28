"""WebP (RFC 9649) up to its canvas: libwebp makes room for the canvas several times, whatever it holds."""

from __future__ import annotations

from clipshelf.model.containers.container import BrokenPictureError, Container, Size, unpack
from clipshelf.model.image_limits import ImageLimits

_FIRST_CHUNK, _BODY = 12, 20
# Two canvases of libwebp, one that it hands over, and Pillow's: 4 bytes each.
_BYTES_PER_PIXEL = 16


def inspect(data: bytes, limits: ImageLimits) -> Container:
    """Read the canvas of a WebP. Raises BrokenPictureError or LimitError."""
    limits.check("frames", data.count(b"ANMF"), "frames or more")
    # the decoder knows the orientation, and Pillow reads no metadata of a WebP
    return Container((data,), _size(data), orientation=None, bytes_per_pixel=_BYTES_PER_PIXEL)


def _size(data: bytes) -> Size:
    kind = data[_FIRST_CHUNK : _FIRST_CHUNK + 4]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = unpack("<HBHB", data, _BODY + 4)
        return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    if kind == b"VP8L":
        (bits,) = unpack("<I", data, _BODY + 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = unpack("<HH", data, _BODY + 6)
        return width & 0x3FFF, height & 0x3FFF
    raise BrokenPictureError("its first chunk is unknown")
