"""Files with a checksum for each 64 KiB block; no byte of a block is returned before the block was compared.

A changed bit is found when its block is first used. That costs one CRC-32 over the block, once while the file is open.
CRC-32 finds every change within 32 bits, and misses one in 2^32 of the others.
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord, flush_to_disk, open_regular
from clipshelf.runtime.cpus import available_cpus
from clipshelf.workers import Workers

BLOCK = 1 << 16
# 8 MB: more blocks than this are compared in threads, this many in one task.
_BLOCKS_PER_TASK = 128
# NumPy parses headers as Python. CPython 3.11 counts how deep the parsers of all threads are in one number, and two of
# them at the same time may fail with SystemError.
_HEADER_TRIES = 10

Sums: TypeAlias = npt.NDArray[np.uint32]


class BlockWriter:
    """Writes a new file and measures it on the way.

    - `path`: the file, which must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._sums: list[int] = []
        self._bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append `data` and return its length in bytes."""
        view = memoryview(data).cast("B")
        self._digest.update(view)
        start = 0
        while start < len(view):
            used = self._bytes % BLOCK
            piece = view[start : start + BLOCK - used]
            if used:
                self._sums[-1] = zlib.crc32(piece, self._sums[-1])
            else:
                self._sums.append(zlib.crc32(piece))
            self._bytes += len(piece)
            start += len(piece)
        self._file.write(view)
        return len(view)

    @property
    def size(self) -> int:
        """Bytes that were written so far."""
        return self._bytes

    @property
    def record(self) -> FileRecord:
        """Size and SHA-256 of what was written so far."""
        return FileRecord(self._bytes, self._digest.hexdigest())

    @property
    def sums(self) -> Sums:
        """(blocks,) uint32 CRC-32 of each block that was written so far."""
        return np.array(self._sums, np.uint32)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[BlockWriter]:
        """Open the new file `path` for writing; it is flushed to the disk when the `with` block ends well."""
        writer = cls(path)
        with writer._file as file:
            yield writer
            file.flush()
            flush_to_disk(file.fileno())


class BlockReader:
    """A memory-mapped file whose content is compared with checksums before it is used.

    - `path`: the file.
    - `size`: its size in bytes, which is compared now.
    - `sums`: (blocks,) uint32 CRC-32 of each block.
    - `mapped`: False reads the file into memory now, for a map holds a descriptor.

    Every method raises CatalogueError naming the file when it, or a block that is used, is not as it was written.
    """

    def __init__(self, path: Path, size: int, sums: Sums, *, mapped: bool = True) -> None:
        self.path = path
        self.size = size
        self.sums = sums
        with open_regular(path) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise CatalogueError(f"{path}: expected {size} bytes, found {found}")
            # An empty file cannot be mapped.
            self._bytes: npt.NDArray[np.uint8] = (
                np.memmap(file, np.uint8, "r") if mapped and size else np.fromfile(file, np.uint8, size)
            )
        if len(sums) != -(-size // BLOCK):
            raise CatalogueError(f"{path}: expected {-(-size // BLOCK)} checksums for {size} bytes, found {len(sums)}")
        # Both are faster than NumPy's for a single block, of which a record is a part.
        self._view = self._bytes.data
        self._compared = bytearray(len(sums))

    def slices(self, starts: Sequence[int], stops: Sequence[int]) -> list[memoryview]:
        """Return the bytes from `starts[i]` to before `stops[i]`, for each i."""
        compared = self._compared
        for start, stop in zip(starts, stops, strict=True):
            for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
                if not compared[block]:
                    self._compare(block)
        return [self._view[start:stop] for start, stop in zip(starts, stops, strict=True)]

    def whole(self) -> npt.NDArray[np.uint8]:
        """Return all bytes, a read-only map, compared in as many threads as there are CPUs."""
        count = len(self.sums)
        if count <= _BLOCKS_PER_TASK:
            self._compare_range(0, count)
        elif 0 in self._compared:
            starts = range(0, count, _BLOCKS_PER_TASK)
            workers = Workers(available_cpus())
            workers.map(lambda start: self._compare_range(start, min(start + _BLOCKS_PER_TASK, count)), starts)
        return self._bytes

    def array(self, dtypes: Sequence[npt.DTypeLike], shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Return the array of a `.npy` file, memory-mapped; the parameters are those of `npy_array`."""
        return npy_array(self.path, self.whole(), dtypes, shape)

    def _compare_range(self, first: int, stop: int) -> None:
        """Compare the blocks from `first` to before `stop` that were not compared yet."""
        for block in range(first, stop):
            if not self._compared[block]:
                self._compare(block)

    def _compare(self, block: int) -> None:
        start, stop = block * BLOCK, min((block + 1) * BLOCK, len(self._view))
        if zlib.crc32(self._view[start:stop]) != self.sums[block]:
            raise CatalogueError(
                f"{self.path}: expected the bytes {start} to {stop} as they were written, found others"
            )
        self._compared[block] = 1


def npy_array(
    path: Path, data: npt.NDArray[np.uint8], dtypes: Sequence[npt.DTypeLike], shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Return the array that the content of a `.npy` file holds, without a copy.

    - `path`: the file, for messages.
    - `data`: (bytes,) uint8 its content.
    - `dtypes`: the types that are allowed.
    - `shape`: the shape that is expected, None for an axis of any length.

    Raises CatalogueError for anything else.
    """
    header = BytesIO(data[: 1 << 12].tobytes())
    try:
        found, fortran, dtype = _npy_header(header)
    except Exception as error:  # NumPy's reader of headers raises errors of its tokeniser, too
        raise CatalogueError(f"{path}: expected a NumPy file, found: {error}") from error
    allowed = [np.dtype(dtype) for dtype in dtypes]
    same = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
    body = data[header.tell() :]
    if dtype not in allowed or not same or fortran or len(body) != dtype.itemsize * math.prod(found):
        names = " or ".join(map(str, allowed))
        raise CatalogueError(f"{path}: expected {names} {shape}, found {dtype} {found} in {len(body)} bytes")
    return body.view(dtype).reshape(found)


def _npy_header(file: BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of a `.npy` file, which is read up to its data."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of the format than 1.0")
    start = file.tell()
    for _ in range(_HEADER_TRIES - 1):
        try:
            return np.lib.format.read_array_header_1_0(file)
        except SystemError:
            file.seek(start)
    return np.lib.format.read_array_header_1_0(file)
