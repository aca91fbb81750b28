"""Shards of which those that do not answer are left out at once, so that one that is lost makes no other query wait.

A shard is left out after a call that it did not answer in time. It is called again in the background, and takes part
from its first answer on. A method that reads a whole column may take longer than a query may wait: a shard that does
not answer it in time is not lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from clipshelf.scale.shards import SLOW_METHODS, Method, Shards

_log = logging.getLogger(__name__)
_NO_ROWS = np.empty(0, np.int64)


class WatchedShards:
    """Calls shards through another object, except those that are lost.

    - `shards`: how they are called.
    - `interval`: seconds between two calls of a lost one.
    """

    def __init__(self, shards: Shards, interval: float = 1.0) -> None:
        self._shards = shards
        self._interval = interval
        self._lock = threading.Lock()
        self._lost: frozenset[int] = frozenset()
        self._closed = threading.Event()

    @property
    def lost(self) -> frozenset[int]:
        """The shards that are left out now."""
        return self._lost

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on the shards that are not lost; see `Shards.call`."""
        present = {number: of_shard for number, of_shard in arguments.items() if number not in self._lost}
        results = self._shards.call(method, present) if present else {}
        if method not in SLOW_METHODS:
            self._leave_out(present.keys() - results.keys())
        return results

    def close(self) -> None:
        """Let the shards go."""
        self._closed.set()
        self._shards.close()

    def _leave_out(self, missing: Iterable[int]) -> None:
        """Leave shards out, each until a thread of its own has seen an answer."""
        with self._lock:
            if self._closed.is_set():
                return
            newly_lost = sorted(set(missing) - self._lost)
            self._lost |= set(newly_lost)
        if newly_lost:
            _log.warning("shards: no answer of %s", ", ".join(map(str, newly_lost)))
        for number in newly_lost:
            threading.Thread(target=self._watch, args=(number,), name="clipshelf-lost-shard", daemon=True).start()

    def _watch(self, number: int) -> None:
        """Call a lost shard until it answers."""
        while not self._closed.wait(self._interval):
            try:
                has_answered = bool(self._shards.call("records", {number: (_NO_ROWS,)}))
            except Exception as error:
                if self._closed.is_set():
                    return
                _log.warning("shards: %d failed with %s: %s", number, type(error).__name__, error)
                continue
            if has_answered:
                with self._lock:
                    self._lost -= {number}
                _log.info("shards: %d answers again", number)
                return
