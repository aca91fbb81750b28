"""When the stages of one call started and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeAlias

# Start and end of a stage, in milliseconds since the call began.
Span: TypeAlias = tuple[float, float]


class Timeline:
    """Records the stages of one call, which begins when the timeline is made; any number of threads may record.

    A stage that runs several times counts from its first start to its last end.
    """

    def __init__(self) -> None:
        self._start = self._lap = time.perf_counter()
        self._stages: dict[str, Span] = {}
        self._lock = Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the block that runs inside as the stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._record(name, start, time.perf_counter())

    def lap(self, name: str) -> None:
        """Record the stage `name` from the end of the previous lap, or from the start, until now."""
        now = time.perf_counter()
        self._record(name, self._lap, now)
        self._lap = now

    def milliseconds(self, name: str) -> float:
        """Duration of the stage `name`, to a microsecond; 0 for one that did not run."""
        start, end = self._stages.get(name, (0.0, 0.0))
        return round(end - start, 3)

    def total(self) -> float:
        """Milliseconds since the call began, to a microsecond."""
        return round(1e3 * (time.perf_counter() - self._start), 3)

    def spans(self) -> dict[str, Span]:
        """Start and end of each stage in milliseconds since the call began, in the order in which they ended."""
        return dict(self._stages)

    def _record(self, name: str, start: float, end: float) -> None:
        span = 1e3 * (start - self._start), 1e3 * (end - self._start)
        with self._lock:
            before = self._stages.get(name, span)
            self._stages[name] = min(before[0], span[0]), max(before[1], span[1])
