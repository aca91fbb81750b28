from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from clipshelf.calls import _Calls


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Caller(threading.Thread):
    """A thread that makes one call, which lasts until it is released."""

    def __init__(self, calls: _Calls, *, daemon: bool = False) -> None:
        super().__init__(daemon=daemon)
        self._calls = calls
        self.inside, self.released = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self._calls:
            self.inside.set()
            self.released.wait()


@pytest.fixture
def calls() -> _Calls:
    return _Calls()


def test_a_fork_waits_for_calls_in_flight_and_holds_new_ones_back(calls: _Calls) -> None:
    running = Caller(calls)
    running.inside.wait(5)
    fork = threading.Thread(target=calls.hold)
    fork.start()
    until(lambda: calls._forks == 1)
    late = Caller(calls)
    assert fork.is_alive() and not late.inside.wait(0.05)
    running.released.set()
    fork.join(5)
    assert not fork.is_alive() and not late.inside.is_set()
    calls.release()
    assert late.inside.wait(5)
    late.released.set()
    late.join(5)


def test_a_handler_may_fork_and_call_inside_a_call_of_its_own_thread(calls: _Calls) -> None:
    with calls:
        calls.hold()
        with calls:
            pass
        calls.release()
    calls.end()


def test_the_end_waits_and_stops_daemon_threads_only(calls: _Calls) -> None:
    running = Caller(calls, daemon=True)
    running.inside.wait(5)
    end = threading.Thread(target=calls.end)
    end.start()
    until(lambda: calls._ended)
    assert end.is_alive()
    running.released.set()
    end.join(5)
    assert not end.is_alive()
    daemon, other = Caller(calls, daemon=True), Caller(calls)
    assert other.inside.wait(5) and not daemon.inside.wait(0.05)
    other.released.set()
    other.join(5)
    with calls:
        pass
