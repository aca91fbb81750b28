"""What has been embedded so far, kept beside the catalogue until that is saved.

`journal.<fingerprint>` is a run of records of one size, appended as products are embedded:

    key 16 bytes | embedding (D,) float32 | CRC-32 of these two

A process that dies leaves at most its last record in part. What is read again has its checksum compared, so a record
that is torn or changed is simply embedded again.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.content_keys import SIZE, KeyIndex, Keys
from clipshelf.types import FloatArray

_NAME = re.compile(r"journal\.[0-9a-f]+")


def is_journal(name: str) -> bool:
    """Whether a file's name is that of a journal."""
    return bool(_NAME.fullmatch(name))


class Known:
    """Embeddings (M, D) that can be found by their keys (M, 16)."""

    def __init__(self, keys: Keys, embeds: FloatArray) -> None:
        self._index = KeyIndex(keys)
        self._embeds = embeds

    def fill(self, keys: Keys, rows: FloatArray) -> npt.NDArray[np.bool_]:
        """Write what is known of (n,) keys into rows (n, D), and tell (n,) which these are."""
        found = self._index.find(keys)
        rows[found >= 0] = self._embeds[found[found >= 0]]
        return np.asarray(found >= 0)


class Journal:
    """The journal of one model in a folder that the caller has locked, opened for appending."""

    def __init__(self, folder: Path, fingerprint: str, dim: int) -> None:
        self._type = np.dtype([("key", np.uint8, (SIZE,)), ("embed", "<f4", (dim,)), ("sum", "<u4")])
        path = folder / f"journal.{fingerprint}"
        self._file = path.open("ab")
        whole = self._file.tell() - self._file.tell() % self._type.itemsize
        self._file.truncate(whole)
        records = np.memmap(path, self._type, "r") if whole else np.empty(0, self._type)
        good = np.array([_sum(record) == record["sum"] for record in records], bool)
        self.known = Known(records["key"][good], records["embed"][good])

    def append(self, keys: Keys, embeds: FloatArray) -> None:
        """Keep embeddings (n, D) of (n, 16) keys. Raises OSError."""
        records = np.zeros(len(keys), self._type)
        records["key"], records["embed"] = keys, embeds
        records["sum"] = [_sum(record) for record in records]
        self._file.write(records.tobytes())
        self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _sum(record: Any) -> int:
    return zlib.crc32(record.tobytes()[:-4])
