"""What is known of a picture's file before its pixels are decoded."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TypeAlias

from clipshelf.model.image_limits import Deadline

Size: TypeAlias = tuple[int, int]  # width, height

# A copy of up to 16 MB takes less time than the reads of a decoder from several pieces.
_MOST_PIECES, _JOINED_BELOW = 16, 1 << 24
# The clock of a thread takes longer than a small read.
_SMALL_READ, _SMALL_READS = 4096, 256


class BrokenPictureError(ValueError):
    """A file that does not hold what its format asks for."""


@dataclass(frozen=True)
class Container:
    """A file as the decoder is given it: without metadata, which may be damaged or larger than the picture.

    - `pieces`: the bytes that the decoder reads, one after the other.
    - `size`: (width, height) as stored; None where only the decoder knows it.
    - `orientation`: the EXIF orientation, 1 to 8; None where only the decoder knows it.
    - `profile`: the ICC profile.
    - `bytes_per_pixel`: memory that decoding takes for a pixel; 0 where it follows from the mode of the picture.
    - `extra_memory`: bytes that it takes beside the pixels.
    - `decoded_when_opened`: whether the decoder makes all pixels as soon as it opens the file.
    """

    pieces: tuple[bytes | memoryview, ...]
    size: Size | None = None
    orientation: int | None = 1
    profile: bytes | None = None
    bytes_per_pixel: int = 0
    extra_memory: int = 0
    decoded_when_opened: bool = False


class PieceStream:
    """A binary stream over pieces of a file, which stops at a deadline.

    - `pieces`: the bytes, one after the other. Many or small ones are joined; few large ones are not copied.
    - `deadline`: checked at large reads, and at some of the small ones.
    """

    def __init__(self, pieces: tuple[bytes | memoryview, ...], deadline: Deadline) -> None:
        self._size = sum(map(len, pieces))
        if len(pieces) > _MOST_PIECES or (len(pieces) > 1 and self._size < _JOINED_BELOW):
            pieces = (b"".join(pieces),)
        self._pieces = pieces
        self._deadline = deadline
        self._position = 0
        self._reads = 0

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, all that are left by default. Raises LimitError past the deadline."""
        self._reads += 1
        if size > _SMALL_READ or not self._reads % _SMALL_READS:
            self._deadline.check()
        begin, end = self._position, self._size if size < 0 else min(self._position + size, self._size)
        self._position = max(begin, end)
        parts = []
        for piece in self._pieces:
            if begin < min(end, len(piece)):
                parts.append(bytes(piece[begin:end]))
            begin, end = max(0, begin - len(piece)), end - len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, and return it."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """The position of the next read."""
        return self._position


def unpack(layout: str, data: bytes, position: int) -> tuple[int, ...]:
    """The integers of a struct layout at a position. Raises BrokenPictureError where the data ends before them."""
    try:
        return struct.unpack_from(layout, data, position)
    except struct.error:
        raise BrokenPictureError("its header is cut short") from None
