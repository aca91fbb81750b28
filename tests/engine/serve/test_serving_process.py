"""`clipshelf serve` as a process: how it starts, drains and ends, and what survives when it is killed."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.cli.main import main
from support.service import wait_until, write_shelf

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


class Process:
    """A served catalogue in a process of its own, and a client of it."""

    def __init__(self, folder: Path, artifact: Path, *options: str) -> None:
        command = [sys.executable, "-m", "clipshelf", "serve", str(folder), "--artifact", str(artifact), "--port", "0"]
        self.child = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self.url = self._address()
        self.client = httpx2.Client(base_url=self.url, timeout=20, trust_env=False)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        wait_until(lambda: self.status("/health/ready") == 200)

    def status(self, path: str) -> int:
        """The status of an answer, 0 where there is none."""
        try:
            return self.client.get(path).status_code
        except httpx2.TransportError:
            return 0

    def end(self) -> int:
        """Wait for the process to end; its exit code."""
        code = self.child.wait(20)
        self._reader.join()
        self.client.close()
        return code

    def _address(self) -> str:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self.log.append(line)
            if match := re.search(r"http://127\.0\.0\.1:\d+", line):
                return match[0]
        raise AssertionError("".join(self.log))

    def _read(self) -> None:
        assert self.child.stderr is not None
        with contextlib.suppress(ValueError):
            self.log += self.child.stderr


Start = Callable[..., Process]


@pytest.fixture
def start(tiny_engine: Engine, tiny_artifact: Path, tmp_path: Path) -> Iterator[Start]:
    processes: list[Process] = []
    folder = write_shelf(tiny_engine, tmp_path)

    def run(*options: str) -> Process:
        processes.append(Process(folder, tiny_artifact, "--root", str(tmp_path), *options))
        return processes[-1]

    yield run
    for process in processes:
        if process.child.poll() is None:
            process.child.kill()
        process.end()


def keep_asking(process: Process, answers: list[int]) -> None:
    """Ask again and again, each time on a connection of its own."""
    lost = 0
    while True:
        try:
            status = httpx2.post(f"{process.url}/v1/recommend", json={"text": "red"}).status_code
        except httpx2.ConnectError:
            # It listens no longer. A connection that it had not accepted when it stopped was reset by the kernel.
            return
        except httpx2.TransportError:
            lost += 1
        else:
            answers += [0] * lost + [status]
            lost = 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_drains_and_ends_in_time(start: Start, number: signal.Signals) -> None:
    process = start("--drain-delay", "0.5")
    answers: list[int] = []
    clients = [threading.Thread(target=keep_asking, args=(process, answers), daemon=True) for _ in range(4)]
    for client in clients:
        client.start()
    wait_until(lambda: len(answers) >= 20)
    asked = time.monotonic()
    process.child.send_signal(number)
    wait_until(lambda: process.status("/health/ready") != 200)
    assert process.status("/health/live") == 200  # it still listens, and answers
    assert process.client.post("/v1/recommend", json={"text": "red"}).headers["connection"] == "close"
    assert process.end() == 0
    for client in clients:
        client.join(20)
    assert time.monotonic() - asked < 15
    assert set(answers) == {200}, answers  # nobody who was let in went without an answer


def test_requests_in_progress_are_given_up_when_draining_takes_too_long(start: Start) -> None:
    process = start("--drain-timeout", "1", "--deadline", "60")
    ended = threading.Event()
    # a body that does not end holds its connection
    with contextlib.closing(httpx2.Client(base_url=process.url, timeout=30, trust_env=False)) as client:

        def body() -> Iterator[bytes]:
            yield b"{"
            ended.wait(20)
            yield b"}"

        def send() -> None:
            with contextlib.suppress(httpx2.TransportError):
                client.post("/v1/recommend", content=body(), headers={"Content-Type": "application/json"})

        sender = threading.Thread(target=send)
        sender.start()
        wait_until(lambda: "in_progress 2.0" in process.client.get("/metrics").text)
        asked = time.monotonic()
        process.child.send_signal(signal.SIGTERM)
        assert process.end() == 0
        assert 1 < time.monotonic() - asked < 8
        ended.set()
        sender.join()


def test_a_killed_writer_leaves_a_whole_generation(start: Start, tmp_path: Path) -> None:
    process = start("--writable")
    written: list[int] = []

    def write() -> None:
        with contextlib.suppress(httpx2.TransportError):
            for number in range(1000):
                products = [{"id": f"lamp-{number}-{part}", "text": f"a red lamp {number}"} for part in range(5)]
                answer = process.client.put("/v1/products", json={"products": products})
                written.append(answer.json()["products"])

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(written) >= 5)
    process.child.kill()
    writer.join()
    catalogue = Catalogue.load(tmp_path / "shelf", verify=True)
    assert len(catalogue) in (written[-1], written[-1] + 5)  # what was answered is there, and nothing by halves
    assert start().client.get("/v1/catalogue").json()["products"] == len(catalogue)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either a CATALOGUE or --demo"),
        (["shelf", "--demo"], "expected either a CATALOGUE or --demo"),
        (["shelf", "--queue", "0"], "queue: expected a number above 0"),
        (["shelf", "--host", "0.0.0.0"], "--keys FILE"),
        (["shelf", "--keys", "nothing"], "nothing"),
        (["shelf", "--port", "99999"], "port: expected at most 65535"),
        (["nothing"], "expected a catalogue folder"),
    ],
)
def test_misuse_is_one_line(  # noqa: PLR0917
    tmp_path: Path,
    tiny_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    write_shelf(tiny_engine, tmp_path)
    monkeypatch.chdir(tmp_path)
    try:
        code: Any = main(["serve", *arguments])
    except SystemExit as exit_:
        code = exit_.code
    error = capsys.readouterr().err
    assert code in (1, 2) and message in error and "Traceback" not in error


def test_a_port_in_use_is_one_line(start: Start, tmp_path: Path, tiny_artifact: Path) -> None:
    port = start().url.rpartition(":")[2]
    command = [sys.executable, "-m", "clipshelf", "serve", str(tmp_path / "shelf"), "--artifact", str(tiny_artifact)]
    done = subprocess.run([*command, "--port", port], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "address already in use" in done.stderr.lower()


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "clipshelf.serve.server", None)
    assert main(["serve", "nothing"]) == 1
    assert "pip install 'clipshelf[serve]'" in capsys.readouterr().err
