"""Shards of which those that do not answer are left out at once, so that one that is lost makes no other query wait.

A shard is left out after a call that it did not answer in time. It is asked again in the background, and takes part
from its first answer on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipshelf.scale.shards import Method, Shards

_log = logging.getLogger(__name__)
_NO_ROWS = np.empty(0, np.int64)


class WatchedShards:
    """Calls shards through another object, except those that are lost.

    - `shards`: how they are called.
    - `interval`: seconds between questions whether a lost one is back.
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
        asked = {number: of_shard for number, of_shard in arguments.items() if number not in self._lost}
        results = self._shards.call(method, asked) if asked else {}
        if missing := asked.keys() - results.keys():
            self._leave_out(missing)
        return results

    def close(self) -> None:
        """Let the shards go."""
        self._closed.set()
        self._shards.close()

    def _leave_out(self, missing: frozenset[int] | set[int]) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            watched, self._lost = bool(self._lost), self._lost | missing
        _log.warning("shards: no answer of %s", ", ".join(map(str, sorted(missing))))
        if not watched:
            threading.Thread(target=self._watch, name="clipshelf-lost-shards", daemon=True).start()

    def _watch(self) -> None:
        """Ask the lost shards until all of them are back."""
        while self._lost and not self._closed.wait(self._interval):
            try:
                answers = self._shards.call("records", dict.fromkeys(self._lost, (_NO_ROWS,)))
            except Exception as error:
                _log.warning("shards: a lost one failed with %s: %s", type(error).__name__, error)
                continue
            if answers:
                with self._lock:
                    self._lost -= answers.keys()
                _log.info("shards: %s answer again", ", ".join(map(str, sorted(answers))))
