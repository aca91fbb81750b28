"""The process of one contender: reads messages from standard input and replies on standard output, a JSON line each.

    {"do": "prepare", "subject": PATH}                                               -> {}
    {"do": "open", "task": T, "threads": N, "subject": P, "matrix": P, "products": P}  -> {}; P is a path or null
    {"do": "time", "task": T, "input": PATH, "batch": B, "count": N, "seconds": S}   -> {"ms": [...]}
    {"do": "save", "task": T, "input": PATH, "batch": B, "output": PATH}             -> {}; all rows, as .npy
    {"do": "memory"}                                                                 -> {"resident_mb", "peak_mb"}

`time` repeats the call on the first B rows of the input until N calls and S seconds are both done. A reply with `error`
says what went wrong. `ContenderProcess` starts the worker; it imports nothing but NumPy and what the contender imports.
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
from clipshelf_bench.datasets.reading import read_input
from clipshelf_bench.subjects.subject import Subject

_MAX_CALLS = 2000


def load_contender(class_name: str) -> Contender:
    """An instance of the class that "module:Class" names."""
    module, _, name = class_name.partition(":")
    contender: Contender = getattr(importlib.import_module(module), name)()
    return contender


class Worker:
    """Replies to messages with one contender."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._calls: dict[str, Call] = {}
        self._inputs: dict[str, Any] = {}
        self._actions = {
            "prepare": self._prepare,
            "open": self._open,
            "time": self._time,
            "save": self._save,
            "memory": _memory,
        }

    def reply(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a message asks for; raises whatever the contender raises."""
        return self._actions[message["do"]](message)

    def _prepare(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._contender.prepare(Subject.load(Path(message["subject"])))
        return {}

    def _open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        subject, matrix, products = (
            None if message[name] is None else Path(message[name]) for name in ("subject", "matrix", "products")
        )
        job = Job(message["threads"], Subject.load(subject) if subject else None, matrix, products)
        self._calls[message["task"]] = self._contender.tasks()[message["task"]](job)
        return {}

    def _time(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call, rows = self._calls[message["task"]], self._input(message["input"])[: message["batch"]]
        times: list[float] = []
        gc.disable()
        end = time.perf_counter() + message["seconds"]
        while len(times) < message["count"] or (time.perf_counter() < end and len(times) < _MAX_CALLS):
            start = time.perf_counter()
            call(rows)
            times.append(1e3 * (time.perf_counter() - start))
        gc.enable()
        return {"ms": times}

    def _save(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call, rows, batch = self._calls[message["task"]], self._input(message["input"]), message["batch"]
        outputs = [np.asarray(call(rows[i : i + batch])) for i in range(0, len(rows), batch)]
        np.save(message["output"], np.concatenate(outputs))
        return {}

    def _input(self, path: str) -> Any:
        if path not in self._inputs:
            self._inputs[path] = read_input(Path(path))
        return self._inputs[path]


def _memory(_: Mapping[str, Any]) -> dict[str, Any]:
    """Resident memory in 1e6 bytes, from the kernel's counters."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"resident_mb": kilobytes["VmRSS:"] * 1.024e-3, "peak_mb": kilobytes["VmHWM:"] * 1.024e-3}


def main() -> None:
    """Reply until standard input closes. What libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(load_contender(sys.argv[1]))
    for line in sys.stdin:
        try:
            reply = worker.reply(json.loads(line))
        except Exception as error:  # any error of a contender is a result
            reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
