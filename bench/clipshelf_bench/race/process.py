"""A contender's process, seen from the bench's: each method sends one message and waits for the reply.

`worker` is the other end and defines the messages.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from clipshelf_bench.contenders.base import Contender, Task
from clipshelf_bench.machine.environment import child_environment
from clipshelf_bench.race.cases import Case, Entry


class ContenderError(RuntimeError):
    """A contender raised an error or its process ended; the message is the contender's."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process, now and at its highest, in 1e6 bytes."""

    resident_mb: float
    peak_mb: float


class ContenderProcess:
    """One contender in a process of its own, which ends with the `with` block or with `close`.

    - `entry`: the contender, and the files that tasks are opened on.
    - `threads`: threads that the contender may use.
    - `environment`: further variables of its environment.

    Every method raises ContenderError when the contender raises an error or its process ends.
    """

    def __init__(self, entry: Entry, threads: int, environment: Mapping[str, str] | None = None) -> None:
        self._entry, self._threads = entry, threads
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed with the process
        class_name = f"{entry.contender.__module__}:{entry.contender.__qualname__}"
        self._child = subprocess.Popen(
            [sys.executable, "-m", "clipshelf_bench.race.worker", class_name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=child_environment(threads) | dict(environment or {}),
        )

    def prepare(self) -> None:
        """Let the contender make its files for the subject."""
        self._ask({"do": "prepare", "subject": self._entry.subject})

    def open(self, task: Task) -> None:
        """Open a task on the files of the entry."""
        files = {"subject": self._entry.subject, "matrix": self._entry.matrix, "products": self._entry.products}
        self._ask({"do": "open", "task": task, "threads": self._threads, **files})

    def time_calls(self, case: Case, *, count: int = 1, seconds: float = 0.0) -> list[float]:
        """Repeat the call of a case whose task is open.

        - `count`: least number of calls.
        - `seconds`: least time to go on for.

        Returns milliseconds of each call.
        """
        files = {"task": case.task, "input": case.input, "batch": case.batch}
        times: list[float] = self._ask({"do": "time", "count": count, "seconds": seconds, **files})["ms"]
        return times

    def save_output(self, case: Case, output: Path) -> None:
        """Write what the contender returns on the whole input of a case to a .npy file."""
        files = {"task": case.task, "input": case.input, "batch": case.batch}
        self._ask({"do": "save", "output": output, **files})

    def memory(self) -> Memory:
        """Resident memory of the process."""
        reply = self._ask({"do": "memory"})
        return Memory(reply["resident_mb"], reply["peak_mb"])

    def close(self) -> None:
        """End the process."""
        self._child.communicate()
        self._stderr.close()

    def __enter__(self) -> ContenderProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        if self._child.stdin is None or self._child.stdout is None:
            raise ContenderError("expected pipes to the contender, found none")
        try:
            self._child.stdin.write(json.dumps(message, default=str) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._child.wait()
            self._stderr.seek(0)
            raise ContenderError(f"died with {status}: {' '.join(self._stderr.read().split())[-300:]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply


def prepare_contender(contender: type[Contender], subject: Path, threads: int) -> str | None:
    """Let a contender make its files, in a process of its own.

    - `contender`: the class.
    - `subject`: record of the model.
    - `threads`: threads that it may use.

    Returns why that failed, None where it did not.
    """
    with ContenderProcess(Entry(contender, subject), threads) as process:
        try:
            process.prepare()
        except ContenderError as error:
            return f"could not prepare: {error}"
    return None
