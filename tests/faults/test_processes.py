"""Forks, pools, servers and the end of a process: everything answers, and every process ends by itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import processes
import pytest
from clipshelf import Catalogue, Engine
from support import tiny

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def run(program: str, artifact: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
    environment.pop("OMP_NUM_THREADS", None)  # OpenBLAS has threads, as it has for users
    # Python warns of every fork beside threads, in the program itself only
    command = [sys.executable, "-W", "ignore::DeprecationWarning", processes.__file__, program, str(artifact)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


@pytest.fixture(scope="session")
def wide_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny artifact with embeddings so wide that NumPy and rankers share the work between threads."""
    return tiny.write_artifact(tmp_path_factory.mktemp("wide"), dim=256)


@needs_fork
@pytest.mark.parametrize(
    "program", ["child_that_works", "child_that_only_ends", "grandchild", "busy_threads", "fork_pool"]
)
def test_forked_processes_answer_and_end(program: str, wide_artifact: Path) -> None:
    done = run(program, wide_artifact)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@needs_fork
def test_children_read_tables_while_the_parent_reads_some(tmp_path: Path) -> None:
    done = run("reading_thread", tiny.write_artifact(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@needs_fork
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_fork_is_followed_whatever_the_tokenizer_is_told(value: str, tiny_artifact: Path) -> None:
    done = run("child_that_works", tiny_artifact, TOKENIZERS_PARALLELISM=value)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_spawned_processes_answer_and_end(tiny_artifact: Path) -> None:
    done = run("spawn_pool", tiny_artifact)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("program", ["late_thread", "late_first_use", "late_thread_after_work", "exit_handler"])
def test_work_goes_on_after_the_main_thread_has_ended(program: str, tiny_artifact: Path) -> None:
    done = run(program, tiny_artifact)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("done\nlate")


def test_busy_daemon_threads_do_not_disturb_the_end(tiny_artifact: Path) -> None:
    for _ in range(5):
        done = run("busy_daemons", tiny_artifact)
        assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


TEXTS = """
import sys
from pathlib import Path
from clipshelf import Engine

engine = Engine.load(sys.argv[1], threads=1)
before = set(Path("/proc/self/task").iterdir())
engine.embed_texts([f"red shoe {number}" for number in range(2000)])
assert set(Path("/proc/self/task").iterdir()) == before
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/task")
def test_texts_start_no_threads_of_the_tokenizer(tiny_artifact: Path) -> None:
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "true"}
    subprocess.run([sys.executable, "-c", TEXTS, str(tiny_artifact)], check=True, env=environment)


APPLICATION = """
import json, os
from urllib.parse import parse_qs
from clipshelf import Catalogue, Engine, Recommender

recommender = Recommender(Engine.load(os.environ["ARTIFACT"]), Catalogue.load(os.environ["SHELF"]))
recommender.recommend(text="red")


def application(environ, start_response):
    text = parse_qs(environ["QUERY_STRING"])["text"][0]
    ids = [item.id for item in recommender.recommend(text=text, k=3)]
    body = json.dumps([os.getpid(), ids]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Gunicorn:
    """`gunicorn --preload -w 2` over a folder with `application.py`."""

    def __init__(self, folder: Path, **variables: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        path = os.pathsep.join([str(folder), *sys.path])
        options = ["--preload", "-w", "2", "-b", f"127.0.0.1:{self.port}", "application:application"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path, "HOME": str(folder)} | variables,
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("a"),
        )

    def ask(self, text: str) -> tuple[int, list[str]]:
        """Process id of the worker that answered, and the ids of its products."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/?text={text}", timeout=10) as answer:
            pid, ids = json.load(answer)
        return pid, ids

    def wait(self, seconds: float = 60) -> int:
        """The worker that answers first."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.ask("red")[0]
            except (urllib.error.URLError, ConnectionError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def stop(self) -> float:
        """Seconds that a graceful stop took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        return time.monotonic() - start


@needs_fork
def test_gunicorn_serves_a_preloaded_catalogue(tmp_path: Path, wide_artifact: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "application.py").write_text(APPLICATION)
    products = ({"id": f"p{number}", "text": f"red {number % 7}"} for number in range(40_000))
    Catalogue.build(Engine.load(wide_artifact), products).save(tmp_path / "shelf")
    seconds = serve_and_stop(Gunicorn(tmp_path, ARTIFACT=str(wide_artifact), SHELF=str(tmp_path / "shelf")))
    assert seconds < 10  # half a second on a quiet machine; gunicorn kills a worker that hangs after thirty
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log and "WORKER TIMEOUT" not in log and "SIG" not in log, log


def serve_and_stop(server: Gunicorn) -> float:
    """Ask, replace the workers, ask again; returns the seconds of the graceful stop."""
    try:
        old = {server.wait()}
        answers = [server.ask("red") for _ in range(50)]
        old |= {pid for pid, _ in answers}
        assert {tuple(ids) for _, ids in answers} == {tuple(answers[0][1])} and len(answers[0][1]) == 3
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while {server.wait() for _ in range(10)} & old:
            assert time.monotonic() < end
        return server.stop()
    finally:
        server.process.kill()
        server.process.wait()


def test_rankers_of_a_service_cover_every_way_to_search(tiny_artifact: Path) -> None:
    rankers = processes.Service(str(tiny_artifact)).rankers
    # The parts in int8 of the native kernels, or those of onnxruntime.
    parts = [len(r._stream_parts) or (len(r._int8_scanner.parts) if r._int8_scanner else 0) for r in rankers]
    assert parts == [2, 1, 0]
