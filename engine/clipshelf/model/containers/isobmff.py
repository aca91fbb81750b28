"""AVIF and HEIF, whose decoders read the header themselves, within limits of their own, before any pixel."""

from __future__ import annotations

import re

from clipshelf.model.containers.container import Container
from clipshelf.model.image_limits import ImageLimits

# An item information entry (ISO/IEC 14496-12, 8.11.6) of an EXIF block: version 2 or 3, flags, item id, protection.
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{3}(?:.{2}|.{4}).{2})Exif", re.DOTALL)
_HEADER_REACH = 1 << 16
# Planes of up to 12 bits for three components and transparency, the pixels made of them, and Pillow's.
_BYTES_PER_PIXEL = 16


def inspect_avif(data: bytes, limits: ImageLimits) -> Container:  # noqa: ARG001  (as the other formats)
    """Hide the EXIF block of an AVIF from Pillow, which refuses a damaged one. Rotation does not stand in it."""
    head = _EXIF_ITEM.sub(rb"\1free", data[:_HEADER_REACH])
    pieces = (data,) if head == data[:_HEADER_REACH] else (head, memoryview(data)[_HEADER_REACH:])
    return Container(pieces, orientation=None, bytes_per_pixel=_BYTES_PER_PIXEL)


def inspect_heif(data: bytes, limits: ImageLimits) -> Container:  # noqa: ARG001  (as the other formats)
    """What a HEIF costs; its plugin turns it upright."""
    return Container((data,), orientation=None, bytes_per_pixel=_BYTES_PER_PIXEL)
