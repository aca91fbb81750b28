"""Reads the files with what is pooled over the shards, as strangers may have written them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.disk.checksummed import npy_array
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord, open_regular

# Embeddings of a sample of all products; every generation has it.
SAMPLE_FILE = "sample.npy"


class PooledFile:
    """One pooled file, mapped into memory after it was compared with the manifest.

    - `folder`: of the pooled files.
    - `name`: of the file.
    - `records`: of the manifest.

    Raises CatalogueError naming the file unless it is the one that the manifest names.
    """

    def __init__(self, folder: Path, name: str, records: Mapping[str, FileRecord]) -> None:
        self.path = folder / name
        expected = records.get(name)
        try:
            with open_regular(self.path) as file:
                size = os.fstat(file.fileno()).st_size
                # A file of another size may be huge, and is not hashed.
                same_size = expected is not None and size == expected.bytes
                if not same_size or FileRecord.of_stream(file) != expected:
                    raise CatalogueError(f"{self.path}: expected {expected}, found another file of {size} bytes")
                self._bytes: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)
        except OSError as error:
            raise CatalogueError(f"{self.path}: expected a file, found: {error}") from error

    def array(self, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """The array of a `.npy` file; `shape` as in `npy_array`. Raises CatalogueError for another one."""
        return npy_array(self.path, self._bytes, [dtype], shape)

    def member(self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """An array of a `.npz` file, which is read into memory. Raises CatalogueError for another one.

        - `name`: of the array.
        - `shape`: as in `npy_array`.
        """
        try:
            with open_regular(self.path) as file, ZipFile(file) as archive:
                record = archive.getinfo(f"{name}.npy")
                if record.compress_type != ZIP_STORED or record.file_size > len(self._bytes):
                    raise ValueError("a compressed one, which this format has not")
                content = archive.read(record)
        except Exception as error:  # zipfile raises errors of many kinds for a damaged archive
            raise CatalogueError(f"{self.path}: expected an archive with {name}, found: {error}") from error
        return npy_array(self.path, np.frombuffer(content, np.uint8), [dtype], shape)
