"""The clients of a load test, on a service whose answers are known."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clipshelf_bench.load.client import Outcome, Plan, run
from clipshelf_bench.load.process import send


class Known(BaseHTTPRequestHandler):
    """Answers after 20 ms; refuses, breaks off or keeps silent where the body says so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(60 if body == "silent" else 0.02)
        if body == "break":
            self.close_connection = True
            return
        self.send_response(503 if body == "refuse" else 200)
        self.send_header("Content-Length", "2")
        if body == "close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Known)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def sent(port: int, tmp_path: Path, bodies: list[str], **options: float) -> Outcome:
    path = tmp_path / "bodies.json"
    path.write_text(json.dumps(bodies))
    clients = options.pop("clients", None)
    plan = Plan(port, "/", str(path), options.pop("seconds", 0.3), None if clients is None else int(clients), **options)
    return asyncio.run(run(plan))


def test_a_closed_loop_has_a_request_of_each_client_in_progress(port: int, tmp_path: Path) -> None:
    outcome = sent(port, tmp_path, ["a", "b"], clients=3)
    assert outcome.statuses == {"200": len(outcome.ms)}
    assert 3 <= outcome.requests <= 3 * (outcome.seconds / 0.02)
    assert min(outcome.ms) >= 20


def test_an_open_loop_counts_from_the_moment_at_which_a_request_is_due(port: int, tmp_path: Path) -> None:
    outcome = sent(port, tmp_path, ["a"], rate=100.0)
    assert outcome.statuses == {"200": 30}
    assert outcome.refused_ms == [] and min(outcome.ms) >= 20


def test_refused_broken_and_lost_requests_are_told_apart(port: int, tmp_path: Path) -> None:
    bodies = ["refuse", "break", "silent", "a", "close"]
    outcome = sent(port, tmp_path, bodies, rate=50.0, seconds=0.1, timeout=1.5)
    assert outcome.statuses == {"503": 1, "failed": 1, "timeout": 1, "200": 2}
    assert len(outcome.refused_ms) == 1


def test_nobody_who_listens_is_a_failure(tmp_path: Path) -> None:
    outcome = sent(1, tmp_path, ["a"], clients=1, seconds=0.05, pause=0.02)
    assert outcome.statuses.keys() == {"failed"} and outcome.ms == []


def test_clients_of_a_process_of_their_own_bring_their_outcome_back(port: int, tmp_path: Path) -> None:
    (tmp_path / "bodies.json").write_text('["a", "refuse"]')
    outcome = send(Plan(port, "/", str(tmp_path / "bodies.json"), 0.1, 1), tmp_path)
    assert outcome.statuses.keys() == {"200", "503"}
