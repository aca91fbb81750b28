"""`clipshelf scale serve` as a process, with shards on a Ray of its own: a killed actor, a new generation, its end.

It takes half a minute, since Ray starts and five actors after it. One process serves for all that is asked here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clipshelf import Engine, index
from clipshelf.scale.edits import add_products
from clipshelf.scale.writing import split
from support.processes import processes_below, processes_named

pytest.importorskip("ray", reason="needs Ray: pip install 'clipshelf[scale]'")
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")

SHARDS, PRODUCTS = 2, 24


def actors(pid: int) -> list[int]:
    """The processes of shards below a service."""
    return processes_named(b"ray::ShardActor", pid)


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended stays in /proc until its parent, or init, reads its exit code."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"expected within two minutes: {what}"
        time.sleep(0.05)


class Load:
    """A client that asks without a pause, and notes status, generation, missing shards and ids of each answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[int, str, str | None, frozenset[str]]] = []
        self._url = url
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Load:
        self._asking = self._pool.submit(self._ask)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        with self._pool:
            self._asking.result(60)

    def wait_for(self, count: int) -> None:
        """Wait for more answers; raises what the client raised."""
        goal = len(self.answers) + count
        eventually(lambda: self._asking.done() or len(self.answers) >= goal, f"{count} answers")
        if self._asking.done():
            self._asking.result()

    def _ask(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                response = client.post("/v1/recommend", json={"text": "red shoe", "k": 100})
                ids = frozenset(item["id"] for item in response.json().get("recommendations", ()))
                headers = response.headers
                generation, missing = headers["Clipshelf-Generation"], headers.get("Clipshelf-Missing-Shards")
                self.answers.append((response.status_code, generation, missing, ids))


def test_a_killed_actor_and_a_new_generation_cost_no_answer(tiny_artifact: Path, tmp_path: Path) -> None:
    engine = Engine.load(tiny_artifact, threads=1)
    source = tmp_path / "products.csv"
    source.write_text("id,text\n" + "".join(f"p{row},red shoe {row}\n" for row in range(PRODUCTS)))
    folder = split(index(engine, source, tmp_path / "one"), tmp_path / "many", SHARDS).folder
    options = ["--artifact", str(tiny_artifact), "--port", "0", "--patience", "50", "--deadline", "100"]
    command = [sys.executable, "-m", "clipshelf", "scale", "serve", str(folder), *options]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        service = subprocess.Popen(command, stderr=stderr)
    try:
        eventually(lambda: "http://" in log.read_text() or service.poll() is not None, "an address")
        address = next((word for word in log.read_text().split() if word.startswith("http://")), log.read_text())
        expected = frozenset(f"p{row}" for row in range(PRODUCTS))
        with Load(address) as load:
            load.wait_for(5)
            old = actors(service.pid)
            os.kill(old[0], signal.SIGKILL)
            load.wait_for(10)
            eventually(lambda: len(actors(service.pid)) == SHARDS, "the actor again")
            add_products(folder, engine, [{"id": "new", "text": "a red shoe"}])
            eventually(lambda: load.answers[-1][1] == "2", "the new generation")
            load.wait_for(5)
            eventually(lambda: len(actors(service.pid)) == SHARDS, "the end of the old actors")
            assert not set(old) & set(actors(service.pid))
        assert {answer[:3] for answer in load.answers} == {(200, "1", None), (200, "2", None)}
        products = {"1": expected, "2": expected | {"new"}}
        assert all(ids == products[generation] for _, generation, _, ids in load.answers)
        below = processes_below(service.pid)
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
        eventually(lambda: not any(map(runs, below)), "the end of all of Ray")
    finally:
        service.kill()
        service.wait()
