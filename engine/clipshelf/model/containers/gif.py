"""GIF (GIF89a specification) as its first frame, without comments and other extensions."""

from __future__ import annotations

import re

from clipshelf.model.containers.container import BrokenPictureError, Container, unpack
from clipshelf.model.image_limits import ImageLimits

_HEADER_SIZE = 13
_BLOCK = re.compile(b"[!,;]")
_EXTENSION, _IMAGE = b"!", b","
_GRAPHIC_CONTROL = 0xF9
_HAS_PALETTE = 0x80
# How the frame is removed from the screen; Pillow makes room for that, and the next frame is not read.
_DISPOSAL = 0b0001_1100


def inspect(data: bytes, limits: ImageLimits) -> Container:  # noqa: ARG001  (as the other formats)
    """Read a GIF up to the pixels of its first frame. Raises BrokenPictureError."""
    width, height, flags = unpack("<HHB", data, 6)
    position = palette_end = _HEADER_SIZE + _palette_size(flags)
    control = b""
    while (match := _BLOCK.search(data, position)) is not None:
        position = match.start()
        if match[0] == _IMAGE:
            left, top, across, down = unpack("<HHHH", data, position + 1)
            return Container(
                pieces=(data[:palette_end] + control, memoryview(data)[position:]),
                size=(max(width, left + across), max(height, top + down)),
            )
        if match[0] != _EXTENSION:
            break
        (label, size) = unpack("<BB", data, position + 1)
        if label == _GRAPHIC_CONTROL and size == 4 and position + 8 <= len(data):
            block = bytearray(data[position : position + 7])
            block[3] &= ~_DISPOSAL
            control = bytes(block) + b"\0"
        position = _end_of_blocks(data, position + 2)
    raise BrokenPictureError("it ends before its first frame")


def _palette_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _HAS_PALETTE else 0


def _end_of_blocks(data: bytes, position: int) -> int:
    """The position after sub-blocks, of which each begins with its size, up to one of size 0."""
    end = len(data)
    while position < end and data[position]:
        position += data[position] + 1
    return position + 1
