"""What a store of shards remembers of them, so that it need not call them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipshelf.types import FloatArray, Product, Rows

_MOST_RECORDS = 1 << 14  # of candidates whose answer is being made
_MOST_PICTURES = 1 << 15  # products whose pictures are known


class SeenRows:
    """Embeddings of the rows that were seen last, up to `limit` of them; those of a generation do not change."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._rows: OrderedDict[int, FloatArray] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, rows: Rows, width: int) -> tuple[FloatArray, Rows]:
        """Embeddings (n, width) of n rows, and the positions of those that are not known."""
        embeddings, unknown = np.zeros((len(rows), width), np.float32), []
        with self._lock:
            for position, row in enumerate(rows.tolist()):
                embedding = self._rows.get(row)
                if embedding is None:
                    unknown.append(position)
                else:
                    embeddings[position] = embedding
        return embeddings, np.array(unknown, np.int64)

    def put(self, rows: Rows, embeddings: FloatArray) -> None:
        """Remember rows; the oldest go."""
        with self._lock:
            self._rows.update(zip(rows.tolist(), embeddings, strict=True))
            while len(self._rows) > self._limit:
                self._rows.popitem(last=False)


class SentRecords:
    """Records that came with candidates. Each is handed out once, for who gets it may change it."""

    def __init__(self) -> None:
        self._records: OrderedDict[int, Product] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, rows: Rows) -> list[Any]:
        """The records of n rows, None for one that is not here."""
        with self._lock:
            return [self._records.pop(row, None) for row in rows.tolist()]

    def put(self, rows: Sequence[int], records: Sequence[Product]) -> None:
        """Keep records; the oldest go."""
        with self._lock:
            self._records.update(zip(rows, records, strict=True))
            while len(self._records) > _MOST_RECORDS:
                self._records.popitem(last=False)


class SeenPictures:
    """The keys of the pictures of the products that were seen last, by their ids."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, ids: Sequence[str]) -> list[bytes | None]:
        """The keys of n products, None for one that is not known."""
        with self._lock:
            return [self._keys.get(id_) for id_ in ids]

    def put(self, ids: Sequence[str], keys: Sequence[bytes]) -> None:
        """Remember the keys of products; the oldest go."""
        with self._lock:
            self._keys.update(zip(ids, keys, strict=True))
            while len(self._keys) > _MOST_PICTURES:
                self._keys.popitem(last=False)
