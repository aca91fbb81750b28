"""When the stages of one call started and ended."""

from __future__ import annotations

import time
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

    def stage(self, name: str) -> _Stage:
        """A context manager that records the block inside as the stage `name`."""
        return _Stage(self, name)

    def lap(self, name: str) -> None:
        """Record the stage `name` from the end of the previous lap, or from the start, until now."""
        now = time.perf_counter()
        self.record(name, self._lap, now)
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

    def record(self, name: str, start: float, end: float) -> None:
        """Record the stage `name` between two readings of `time.perf_counter`."""
        span = 1e3 * (start - self._start), 1e3 * (end - self._start)
        with self._lock:
            before = self._stages.get(name, span)
            self._stages[name] = min(before[0], span[0]), max(before[1], span[1])


class _Stage:
    """The block of one stage; a class, since a generator would take three times as long."""

    __slots__ = ("_name", "_start", "_timeline")

    def __init__(self, timeline: Timeline, name: str) -> None:
        self._timeline = timeline
        self._name = name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timeline.record(self._name, self._start, time.perf_counter())
