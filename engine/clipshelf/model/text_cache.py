"""Embeddings of texts that were embedded lately, by their token ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from clipshelf.errors import InputError
from clipshelf.forks import call_in_child
from clipshelf.types import FloatArray, TokenIds


@dataclass(frozen=True)
class TextCacheUse:
    """What a cache of text embeddings holds, and how often it served.

    - `size`: embeddings that it may hold; 0 where it is off.
    - `entries`: that it holds.
    - `hits`, `misses`: texts, or parts of long texts, whose embedding it had and had not.
    """

    size: int
    entries: int
    hits: int
    misses: int


class TextCache:
    """The embeddings that were used last. Any number of threads may share it; a forked child begins with an empty one.

    - `size`: embeddings that it holds at most; 0 holds none and counts nothing.

    Raises InputError unless `size` is a whole number from 0 on.
    """

    def __init__(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InputError(f"text_cache: expected a whole number from 0 on, found {size!r}")
        self._size = size
        self._start()
        call_in_child(self, TextCache._start)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._rows: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._hits = self._misses = 0

    def get(self, tokens: TokenIds) -> FloatArray | None:
        """Return the embedding (D,) of token ids (L,), which becomes the last one used; None where it is not held."""
        if not self._size:
            return None
        key = tokens.tobytes()
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                self._misses += 1
            else:
                self._hits += 1
                self._rows.move_to_end(key)
            return row

    def put(self, tokens: TokenIds, row: FloatArray) -> None:
        """Keep a copy of the embedding (D,) of token ids (L,), in place of the one that was used longest ago."""
        if not self._size:
            return
        copy, key = row.copy(), tokens.tobytes()
        with self._lock:
            self._rows[key] = copy
            self._rows.move_to_end(key)
            if len(self._rows) > self._size:
                self._rows.popitem(last=False)

    @property
    def use(self) -> TextCacheUse:
        """What it holds and how often it served."""
        with self._lock:
            return TextCacheUse(self._size, len(self._rows), self._hits, self._misses)
