"""Lets the csv module read long cells for a while; its limit on their length is one for the whole process."""

from __future__ import annotations

import csv
from contextlib import AbstractContextManager
from threading import Lock

from clipshelf.forks import call_in_child

_LONGEST_CELL = 1 << 24  # characters


class _CellLimit:
    """Lets the csv module read long cells in blocks; its own limit, 131,072 characters, is for all threads.

    A forked child begins without the blocks that other threads of the parent are in.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0
        self._limit = csv.field_size_limit()  # outside of all blocks
        call_in_child(self, _CellLimit._start_in_child)

    def _start_in_child(self) -> None:
        self._lock = Lock()
        if self._blocks:
            csv.field_size_limit(self._limit)
        self._blocks = 0

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1  # before the limit changes, so that a child knows at every moment whether it did
            if self._blocks == 1:
                self._limit = csv.field_size_limit()
                csv.field_size_limit(max(_LONGEST_CELL, self._limit))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._blocks == 1:
                csv.field_size_limit(self._limit)
            self._blocks -= 1


_CELL_LIMIT = _CellLimit()


def long_cells() -> AbstractContextManager[None]:
    """A block in which tables with long cells can be read."""
    return _CELL_LIMIT
