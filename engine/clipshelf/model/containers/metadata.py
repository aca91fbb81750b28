"""What is used of a picture's metadata: the orientation, and the colour profile. Damaged metadata counts as none."""

from __future__ import annotations

import re
import struct
import zlib

# EXIF tag 0x0112 (Exif 2.32, section 4.6.4), of a type whose value stands in the entry: BYTE, SHORT or LONG of TIFF 6.0
ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I"}
_UPRIGHT, _LAST_ORIENTATION = 1, 8
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_EXIF_PREFIX = b"Exif\0\0"


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """The orientation of a picture, 1 to 8: that of its EXIF block, else that of its XMP packet, else 1 (upright)."""
    value = None if exif is None else _exif_orientation(exif)
    if value is None and xmp is not None and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[1])
    return value if value is not None and _UPRIGHT <= value <= _LAST_ORIENTATION else _UPRIGHT


def inflate(data: bytes, limit: int) -> bytes | None:
    """Unpack a zlib stream; None where it is damaged or holds more than `limit` bytes."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, limit)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else unpacked


def _exif_orientation(exif: bytes) -> int | None:
    """The value of the orientation's entry in the first directory of a TIFF structure, None where there is none."""
    while exif.startswith(_EXIF_PREFIX):
        exif = exif[len(_EXIF_PREFIX) :]
    order = _BYTE_ORDERS.get(exif[:4])
    if order is None:
        return None
    try:
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", exif, entry)
            if tag == ORIENTATION and kind in _INTEGERS and values:
                return int(struct.unpack_from(order + _INTEGERS[kind], exif, entry + 8)[0])
    except struct.error:
        return None
    return None
