"""A contender's process, and the environment that all of them share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from clipshelf_bench.contenders.base import Contender

# These make NumPy's OpenBLAS choose kernels for another machine; where they are set, every child runs without them.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ContenderError(RuntimeError):
    """A contender failed or died; the message is its own."""


class Process:
    """One contender in a process of its own."""

    def __init__(self, contender: type[Contender], threads: int) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed with the process
        spec = f"{contender.__module__}:{contender.__qualname__}"
        self._child = subprocess.Popen(
            [sys.executable, "-m", "clipshelf_bench.race.worker", spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=child_environment(threads),
        )

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message and wait for the answer; ContenderError with what the contender said."""
        if self._child.stdin is None or self._child.stdout is None:
            raise ContenderError("expected pipes to the contender, found none")
        try:
            self._child.stdin.write(json.dumps(message, default=str) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise ContenderError(f"died with {self._child.wait()}: {' '.join(self._log.read().split())[-300:]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        self._child.communicate()
        self._log.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment with the same thread limits for every library."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | dict.fromkeys(_THREADS, str(threads)) | {"TOKENIZERS_PARALLELISM": "false"}


def prepare(contender: type[Contender], subject: Path, threads: int) -> str | None:
    """Let a contender make its files, in a process of its own; why that failed, None where it did not."""
    with Process(contender, threads) as process:
        try:
            process.ask(do="prepare", subject=subject)
        except ContenderError as error:
            return f"could not prepare: {error}"
    return None
