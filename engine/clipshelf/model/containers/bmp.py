"""BMP, of which Pillow unpacks run lengths in Python, byte by byte."""

from __future__ import annotations

from clipshelf.model.containers.container import Container, unpack
from clipshelf.model.image_limits import ImageLimits, LimitError

_RUN_LENGTHS = (1, 2)  # RLE8, RLE4
_LONGEST_RUN_LENGTHS, _MOST_RUN_LENGTH_PIXELS = 1 << 20, 4_000_000
_SHORT_HEADER = 12


def inspect(data: bytes, limits: ImageLimits) -> Container:  # noqa: ARG001  (as the other formats)
    """Read the header of a BMP. Raises BrokenPictureError or LimitError."""
    (header,) = unpack("<I", data, 14)
    if header == _SHORT_HEADER:
        width, height = unpack("<HH", data, 18)
        return Container((data,), (width, height))
    width, height, _, _, compression = unpack("<iiHHI", data, 18)
    if compression in _RUN_LENGTHS:
        if len(data) > _LONGEST_RUN_LENGTHS:
            raise LimitError(f"{len(data):,} bytes of run lengths, more than {_LONGEST_RUN_LENGTHS:,}")
        if abs(width * height) > _MOST_RUN_LENGTH_PIXELS:
            raise LimitError(f"{abs(width * height):,} pixels of run lengths, more than {_MOST_RUN_LENGTH_PIXELS:,}")
    return Container((data,), (abs(width), abs(height)), bytes_per_pixel=_bytes_per_pixel(compression))


def _bytes_per_pixel(compression: int) -> int:
    # the bytes that were unpacked, once more as they are handed over, and Pillow's
    return 6 if compression in _RUN_LENGTHS else 0
