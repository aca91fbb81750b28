"""The journal: embeddings that an unfinished `index` has computed, in a file beside the catalogue until it is saved.

`journal.<fingerprint>`, and `reembed-journal.<fingerprint>` of an unfinished `reembed`, have records of one size, which
are appended as products are embedded:

    key 16 bytes | embedding (D,) float32 | CRC-32 of these two

A process that dies leaves at most its last record incomplete. A record is used only if its checksum is right; any other
is embedded again.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import KEY_SIZE, KeyIndex, Keys
from clipshelf.files import open_to_append, writing
from clipshelf.types import FloatArray, Mask

_NAME = re.compile(r"journal\.[0-9a-f]+")
_REEMBEDDING = re.compile(r"reembed-(journal|matrix)\.[0-9a-f]+")


def is_journal(name: str) -> bool:
    """Whether a file's name is that of a journal."""
    return bool(_NAME.fullmatch(name))


def is_reembedding(name: str) -> bool:
    """Whether a file's name is that of a file of an unfinished `reembed`."""
    return bool(_REEMBEDDING.fullmatch(name))


class EmbeddingTable:
    """Embeddings that are found by the keys of their content.

    - `keys`: (M, 16) uint8.
    - `embeds`: (M, D) float32.
    """

    def __init__(self, keys: Keys, embeds: FloatArray) -> None:
        self._index = KeyIndex(keys)
        self._embeds = embeds

    def fill(self, keys: Keys, embeds: FloatArray) -> Mask:
        """Look up n keys (n, 16) and write the known embeddings into `embeds` (n, D).

        Returns (n,) bool, true for a key that is known.
        """
        rows = self._index.find(keys)
        known: Mask = rows >= 0
        embeds[known] = self._embeds[rows[known]]
        return known


class Journal:
    """The journal of one model, open for appending.

    - `folder`: the catalogue's folder, which the caller has locked.
    - `fingerprint`: of the model.
    - `dim`: D.
    - `prefix`: of the file's name.

    The attribute `table` has what was in the file when it was opened. Raises CatalogueError where the file cannot be
    written.
    """

    def __init__(self, folder: Path, fingerprint: str, dim: int, prefix: str = "") -> None:
        self._type = np.dtype([("key", np.uint8, (KEY_SIZE,)), ("embed", "<f4", (dim,)), ("sum", "<u4")])
        self._folder = folder
        with writing(folder):
            self._file = open_to_append(folder / f"{prefix}journal.{fingerprint}")
            size = self._file.seek(0, os.SEEK_END)
            whole = size - size % self._type.itemsize
            self._file.truncate(whole)
            records = np.memmap(self._file, self._type, "r") if whole else np.empty(0, self._type)
        good = np.array([_checksum(record) == record["sum"] for record in records], bool)
        self.table = EmbeddingTable(records["key"][good], records["embed"][good])

    def append(self, keys: Keys, embeds: FloatArray) -> None:
        """Append n embeddings (n, D) float32 with their keys (n, 16). Raises CatalogueError."""
        records = np.zeros(len(keys), self._type)
        records["key"], records["embed"] = keys, embeds
        records["sum"] = [_checksum(record) for record in records]
        with writing(self._folder):
            self._file.write(records.tobytes())
            self._file.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self._folder):
            self._file.close()


def _checksum(record: Any) -> int:
    return zlib.crc32(record.tobytes()[:-4])
