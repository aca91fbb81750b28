"""Files that are written with a checksum for each block, and read with no byte given out before its block was compared.

A flipped bit is found when its block is first used, at the price of one CRC-32 over that block, once for as long as
the file is open. CRC-32 finds every change within 32 bits and misses one in 2^32 of the others.
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord
from clipshelf.runtime.cpus import available_cpus

BLOCK = 1 << 16
# Blocks that one task of a thread compares: 8 MB.
_TASK = 128

Sums: TypeAlias = npt.NDArray[np.uint32]


class BlockWriter:
    """Writes a file and measures it on the way: `record`, and `sums` with the CRC-32 of each 64 KiB block."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._sums: list[int] = []
        self._bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        """Append `data`."""
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
    def record(self) -> FileRecord:
        """Size and SHA-256 of what was written."""
        return FileRecord(self._bytes, self._digest.hexdigest())

    @property
    def sums(self) -> Sums:
        """(blocks,) uint32 checksums of what was written."""
        return np.array(self._sums, np.uint32)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[BlockWriter]:
        """Write the new file `path` while the block runs, then flush it to the disk."""
        writer = cls(path)
        with writer._file as file:
            yield writer
            file.flush()
            os.fsync(file.fileno())


class BlockReader:
    """A memory-mapped file of `size` bytes whose blocks have the checksums `sums`.

    Opening compares the size; content is compared when it is used. Raises CatalogueError naming the file.
    """

    def __init__(self, path: Path, size: int, sums: Sums) -> None:
        self.path = path
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise CatalogueError(f"{path}: expected {size} bytes, found {found}")
            # An empty file cannot be mapped.
            self._bytes: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)
        if len(sums) != -(-size // BLOCK):
            raise CatalogueError(f"{path}: expected {-(-size // BLOCK)} checksums for {size} bytes, found {len(sums)}")
        self.sums = sums
        self._good = np.zeros(len(sums), bool)

    def bytes(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`."""
        self._check(start // BLOCK, -(-stop // BLOCK))
        return self._bytes[start:stop].tobytes()

    def whole(self) -> npt.NDArray[np.uint8]:
        """All bytes as a read-only map, compared in as many threads as there are CPUs."""
        count = len(self.sums)
        if count <= _TASK:
            self._check(0, count)
        elif not self._good.all():
            with ThreadPoolExecutor(available_cpus()) as pool:
                starts = range(0, count, _TASK)
                list(pool.map(lambda start: self._check(start, min(start + _TASK, count)), starts))
        return self._bytes

    def array(self, dtypes: Sequence[npt.DTypeLike], shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """The array of a `.npy` file, memory-mapped: of one of `dtypes`, of `shape` where that says a number.

        Raises CatalogueError on any other.
        """
        data = self.whole()
        header = BytesIO(data[: 1 << 12].tobytes())
        try:
            if np.lib.format.read_magic(header) != (1, 0):
                raise ValueError("another version of the format than 1.0")
            found, fortran, dtype = np.lib.format.read_array_header_1_0(header)
        except ValueError as error:
            raise CatalogueError(f"{self.path}: expected a NumPy file, found: {error}") from error
        allowed = [np.dtype(one) for one in dtypes]
        same = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
        body = data[header.tell() :]
        if dtype not in allowed or not same or fortran or len(body) != dtype.itemsize * math.prod(found):
            names = " or ".join(map(str, allowed))
            raise CatalogueError(f"{self.path}: expected {names} {shape}, found {dtype} {found} in {len(body)} bytes")
        return body.view(dtype).reshape(found)

    def _check(self, first: int, last: int) -> None:
        """Compare the blocks from `first` to before `last` that were not compared yet."""
        for block in np.flatnonzero(~self._good[first:last]) + first:
            start = int(block) * BLOCK
            if zlib.crc32(self._bytes.data[start : start + BLOCK]) != self.sums[block]:
                stop = min(start + BLOCK, len(self._bytes))
                raise CatalogueError(
                    f"{self.path}: expected the bytes {start} to {stop} as they were written, found others"
                )
            self._good[block] = True
