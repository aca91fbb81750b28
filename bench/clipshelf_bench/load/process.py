"""The process of a service, and of the clients that load it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from clipshelf_bench.load.client import Outcome, Plan
from clipshelf_bench.machine.environment import child_environment

_START_SECONDS = 120.0
_STOP_SECONDS = 20.0


class ServiceError(RuntimeError):
    """A service did not start, or ended."""


class ServiceProcess:
    """A service that runs for the life of the `with` block.

    - `command`: what starts it.
    - `port`: on which it listens.
    - `threads`: that it may use.

    Raises ServiceError where it does not listen in time.
    """

    def __init__(self, command: Sequence[str], port: int, threads: int) -> None:
        self.port = port
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed with the process
        environment = child_environment(threads) | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
        self._child = subprocess.Popen(command, stdout=self._stderr, stderr=self._stderr, env=environment)

    def __enter__(self) -> Self:
        try:
            self._wait_until_it_listens()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of the process, now and at its highest, in 1e6 bytes."""
        lines = Path(f"/proc/{self._child.pid}/status").read_text().splitlines()
        kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        return {"rss_mb": kilobytes["VmRSS:"] * 1.024e-3, "highest_mb": kilobytes["VmHWM:"] * 1.024e-3}

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            if self._child.poll() is not None:
                self._stderr.seek(0)
                raise ServiceError(
                    f"ended with {self._child.returncode}: {' '.join(self._stderr.read().split())[-300:]}"
                )
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise ServiceError(f"expected a service that listens within {_START_SECONDS:g} seconds, found none")

    def _stop(self) -> None:
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._stderr.close()


def send(plan: Plan, folder: Path) -> Outcome:
    """Let clients in a process of their own run a plan, which is written into `folder`."""
    path = folder / "plan.json"
    path.write_text(json.dumps(asdict(plan)))
    command = [sys.executable, "-m", "clipshelf_bench.load.client", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Outcome(**json.loads(done.stdout))


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
