"""Processes that a process, or what it started, has started. Reads /proc."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def processes_below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    below = []
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            below += [int(child) for child in children.read_text().split()]
    return below + [process for child in below for process in processes_below(child)]


def stop_process(process: int) -> None:
    """Stop a process, and wait until none of its threads runs any more; SIGCONT lets it go on."""
    os.kill(process, signal.SIGSTOP)
    while any(_state(thread) not in "TtZX" for thread in Path(f"/proc/{process}/task").glob("*")):
        time.sleep(0.001)


def _state(thread: Path) -> str:
    """The state of a thread as one letter, X for one that is gone."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def processes_named(prefix: bytes, pid: int | None = None) -> list[int]:
    """The processes below one, None for this one, whose command begins with a prefix."""
    processes = []
    for process in processes_below(os.getpid() if pid is None else pid):
        with suppress(OSError):
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(prefix):
                processes.append(process)
    return processes
