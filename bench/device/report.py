"""The results as Markdown, written anew after each section, so that a run that is cut off leaves what it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class Report:
    """Sections of text and tables, in a file.

    - `path`: the file.
    - `title`: its first line.
    - `budget`: seconds, after which no section begins.
    """

    def __init__(self, path: Path, title: str, budget: float) -> None:
        self._path, self._budget = path, budget
        self._start = time.monotonic()
        self._lines = [f"# {title}", ""]

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def section(self, title: str, measure: Callable[[Report], object]) -> bool:
        """Run one section; what fails, or has no time left, is written down. Returns whether it succeeded."""
        self.add(f"## {title}", "")
        begin, passed = self.elapsed, False
        if begin > self._budget:
            self.add(f"Not run: {begin:.0f} s of {self._budget:.0f} s were over.", "")
        else:
            try:
                measure(self)
                passed = True
            except Exception as error:  # the other sections shall still run
                self.add(f"FAILED: {type(error).__name__}: {error}", "")
        self.add(f"({self.elapsed - begin:.0f} s)", "")
        return passed

    def add(self, *lines: str) -> None:
        """Add lines, and write the file."""
        self._lines += lines
        print("\n".join(lines), flush=True)
        self._path.write_text("\n".join(self._lines))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table; numbers get three digits."""
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
        self.add(*lines, "")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def timed(call: Callable[[], object], seconds: float, warm: int = 3) -> np.ndarray[Any, Any]:
    """Milliseconds of calls, one after the other for some seconds and at least five times, after `warm` others."""
    for _ in range(warm):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return np.array(times)
