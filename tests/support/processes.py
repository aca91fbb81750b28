"""Processes that a process, or what it started, has started. Reads /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def processes_below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    below = []
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            below += [int(child) for child in children.read_text().split()]
    return below + [process for child in below for process in processes_below(child)]


def processes_named(prefix: bytes, pid: int | None = None) -> list[int]:
    """The processes below one, None for this one, whose command begins with a prefix."""
    processes = []
    for process in processes_below(os.getpid() if pid is None else pid):
        with suppress(OSError):
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(prefix):
                processes.append(process)
    return processes
