"""The process of one contender: JSON lines in, JSON lines out. Started by the harness, never by hand.

    {"do": "prepare", "subject": PATH}
    {"do": "open", "task": T, "threads": N, and perhaps "subject", "matrix", "shelf": PATH}   -> seconds
    {"do": "run", "task": T, "input": PATH, "batch": B, "count": N, "seconds": S}             -> ms: [...]
    {"do": "save", "task": T, "input": PATH, "batch": B, "output": PATH}                      all rows, as .npy
    {"do": "memory"}                                                                          -> rss_mb, peak_mb

`run` repeats the call on the first B rows of the input until both N runs and S seconds are done. An answer with
`error` says what went wrong.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.contenders.base import Call, Contender, Job
from clipshelf_bench.datasets.reading import read
from clipshelf_bench.subjects.subject import Subject

_MOST_RUNS = 2000
_PATHS = ("subject", "matrix", "shelf")


def load_contender(spec: str) -> Contender:
    """An instance of the class that "module:Class" names."""
    module, _, name = spec.partition(":")
    contender: Contender = getattr(importlib.import_module(module), name)()
    return contender


class Worker:
    """Answers the harness's messages with one contender."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._calls: dict[str, Call] = {}
        self._inputs: dict[str, Any] = {}

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a message asks."""
        do = {"prepare": self._prepare, "open": self._open, "run": self._run, "save": self._save, "memory": _memory}
        return do[message["do"]](message)

    def _prepare(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._contender.prepare(Subject.load(Path(message["subject"])))
        return {}

    def _open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        subject, matrix, shelf = (Path(path) if (path := message.get(name)) else None for name in _PATHS)
        job = Job(message["threads"], Subject.load(subject) if subject else None, matrix, shelf)
        start = time.perf_counter()
        self._calls[message["task"]] = self._contender.openers()[message["task"]](job)
        return {"seconds": time.perf_counter() - start}

    def _run(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call, data = self._calls[message["task"]], self._input(message["input"])[: message["batch"]]
        runs: list[float] = []
        gc.disable()
        end = time.perf_counter() + message["seconds"]
        while len(runs) < message["count"] or (time.perf_counter() < end and len(runs) < _MOST_RUNS):
            start = time.perf_counter()
            call(data)
            runs.append(1e3 * (time.perf_counter() - start))
        gc.enable()
        return {"ms": runs}

    def _save(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call, data, batch = self._calls[message["task"]], self._input(message["input"]), message["batch"]
        rows = [np.asarray(call(data[i : i + batch])) for i in range(0, len(data), batch)]
        np.save(message["output"], np.concatenate(rows))
        return {}

    def _input(self, path: str) -> Any:
        if path not in self._inputs:
            self._inputs[path] = read(Path(path))
        return self._inputs[path]


def _memory(_: Mapping[str, Any]) -> dict[str, Any]:
    """Resident memory now and at its highest, 1e6 bytes, from the kernel's own counters."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"rss_mb": kilobytes["VmRSS:"] * 1.024e-3, "peak_mb": kilobytes["VmHWM:"] * 1.024e-3}


def main() -> None:
    """Serve until standard input closes. Libraries that print are sent to standard error."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(load_contender(sys.argv[1]))
    for line in sys.stdin:
        try:
            reply = worker.answer(json.loads(line))
        except Exception as error:  # whatever a contender raises is its result
            reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
