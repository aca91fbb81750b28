"""TIFF (TIFF 6.0, BigTIFF) as its first directory, with the tags that say how its pixels are stored, and no others.

A tag may point to any part of the file, and so may thousands of tags to the same megabytes; and the tags of cameras and
editors may be damaged beside good pixels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from clipshelf.model.containers.container import BrokenPictureError, Container, Size, unpack
from clipshelf.model.containers.metadata import ORIENTATION, orientation
from clipshelf.model.image_limits import ImageLimits, LimitError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
SAMPLES, ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT = 277, 278, 322, 323
_XMP, _ICC_PROFILE = 700, 34675
# Tags of one value; Pillow warns of more.
_SINGLE = {
    WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT,
    255, 263, 266, 284, 292, 293, 317, 332, 512, 513, 514, 531,
}  # fmt: skip
_LISTS = {
    BITS, 273, 279, 318, 319, 320, 324, 325, 333, 338, 339, 347, 519, 520, 521, 529, 530, 532,
}  # fmt: skip
# Sizes of the types of TIFF 6.0, section 2, and of BigTIFF; and the letters of integers.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_STRIPS, _TILES = 273, 324
_MOST_TAGS = 10_000
_MOST_BLOCKS = 1 << 16  # strips or tiles; Pillow makes an object of each
_MOST_SAMPLES = 6  # Pillow's limit
# JPEG strips are unpacked to RGBA.
_JPEGS, _JPEG_BYTES_PER_PIXEL = (6, 7), 4


@dataclass(frozen=True)
class _Layout:
    """The byte order of a file, and the sizes of its structures."""

    order: str
    big: bool

    @property
    def entry_size(self) -> int:
        return 20 if self.big else 12

    @property
    def inline_size(self) -> int:
        return 8 if self.big else 4

    def pack(self, tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, kind, count) + value


@dataclass(frozen=True)
class _Entry:
    """A tag of a directory: its type, its number of values, where they stand and the bytes that say so."""

    kind: int
    count: int
    position: int
    pointer: bytes

    @property
    def size(self) -> int:
        return self.count * _SIZES.get(self.kind, 0)


_NOTHING = _Entry(kind=0, count=0, position=0, pointer=b"")


class _Directory:
    """The first directory of a TIFF."""

    def __init__(self, data: bytes) -> None:
        order = "<" if data[:2] == b"II" else ">"
        self.layout = _Layout(order, big=unpack(order + "H", data, 2)[0] == 43)
        self._data = data
        self.entries = dict(self._read())

    def _read(self) -> Any:
        order, big = self.layout.order, self.layout.big
        (start,) = unpack(order + ("Q" if big else "I"), self._data, 8 if big else 4)
        (count,) = unpack(order + ("Q" if big else "H"), self._data, start)
        if count > _MOST_TAGS:
            raise LimitError(f"{count:,} tags, more than {_MOST_TAGS:,}")
        start += 8 if big else 2
        for position in range(start, start + count * self.layout.entry_size, self.layout.entry_size):
            tag, kind, values = unpack(order + ("HHQ" if big else "HHI"), self._data, position)
            inline = position + self.layout.entry_size - self.layout.inline_size
            entry = _Entry(kind, values, inline, self._data[inline : inline + self.layout.inline_size])
            if entry.size > self.layout.inline_size:
                (target,) = unpack(order + ("Q" if big else "I"), self._data, inline)
                entry = _Entry(kind, values, target, entry.pointer)
            if entry.size and entry.position + entry.size <= len(self._data):
                yield tag, entry

    def integer(self, tag: int, default: int) -> int:
        """The first value of a tag, which is an integer."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return default
        return unpack(self.layout.order + _INTEGERS[entry.kind], self._data, entry.position)[0]

    def values(self, tag: int, largest: int) -> bytes | None:
        """The values of a tag as bytes, None where it has none or more than `largest`."""
        entry = self.entries.get(tag)
        if entry is None or entry.size > largest:
            return None
        return self._data[entry.position : entry.position + entry.size]

    def rebuilt(self, limits: ImageLimits) -> bytes:
        """The file with a new first directory at its end, of the tags that are needed."""
        order, big = self.layout.order, self.layout.big
        needed = {tag: entry for tag, entry in sorted(self.entries.items()) if tag in _SINGLE | _LISTS}
        limits.check("metadata_bytes", sum(entry.size for entry in needed.values()), "bytes of tables")
        body = b"".join(self._rewritten(tag, entry) for tag, entry in needed.items())
        count = struct.pack(order + ("Q" if big else "H"), len(needed))
        padding = bytes(-len(self._data) % 8)
        pointer = struct.pack(order + ("Q" if big else "I"), len(self._data) + len(padding))
        start = 8 if big else 4
        end = bytes(self.layout.inline_size)
        rest = memoryview(self._data)[start + len(pointer) :]
        return b"".join((self._data[:start], pointer, rest, padding, count, body, end))

    def _rewritten(self, tag: int, entry: _Entry) -> bytes:
        if tag not in _SINGLE or entry.count == 1:
            return self.layout.pack(tag, entry.kind, entry.count, entry.pointer)
        value = self._data[entry.position : entry.position + _SIZES[entry.kind]]
        return self.layout.pack(tag, entry.kind, 1, value.ljust(self.layout.inline_size, b"\0"))


def inspect(data: bytes, limits: ImageLimits) -> Container:
    """Read the first directory of a TIFF. Raises BrokenPictureError or LimitError."""
    directory = _Directory(data)
    size = directory.integer(WIDTH, 0), directory.integer(HEIGHT, 0)
    if not all(size):
        raise BrokenPictureError("its first directory has no size")
    samples = directory.integer(SAMPLES, 1)
    if samples > _MOST_SAMPLES:
        raise BrokenPictureError(f"it has {samples} samples for a pixel, more than {_MOST_SAMPLES}")
    exif = directory.integer(ORIENTATION, 0)
    xmp = directory.values(_XMP, limits.metadata_bytes)
    return Container(
        pieces=(directory.rebuilt(limits),),
        size=size,
        orientation=exif if 1 <= exif <= 8 else orientation(None, xmp),
        profile=directory.values(_ICC_PROFILE, limits.metadata_bytes),
        extra_memory=_block_memory(directory, size, samples, limits),
    )


def _block_memory(directory: _Directory, size: Size, samples: int, limits: ImageLimits) -> int:
    """Bytes of the strip or tile that is unpacked at a time."""
    width, height = size
    blocks = max(directory.entries.get(tag, _NOTHING).count for tag in (_STRIPS, _TILES))
    if blocks > _MOST_BLOCKS:
        raise LimitError(f"{blocks:,} strips or tiles, more than {_MOST_BLOCKS:,}")
    across = directory.integer(TILE_WIDTH, width)
    down = directory.integer(TILE_HEIGHT, min(height, directory.integer(ROWS_PER_STRIP, height)))
    limits.check("pixels", across * down, "pixels of a tile")
    if directory.integer(COMPRESSION, 1) in _JPEGS:
        return across * down * _JPEG_BYTES_PER_PIXEL
    return -(-across * down * samples * directory.integer(BITS, 1) // 8)
