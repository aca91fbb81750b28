"""Calls of libraries with threads of their own, kept apart from the moments at which the process forks or ends.

The libraries are onnxruntime and OpenBLAS, on which NumPy multiplies matrices. A lock of theirs that another thread
holds at a fork stays locked in the child for ever, and OpenBLAS can wait for ever in the fork itself. At the end of the
process Python stops a daemon thread as soon as its call returns, by an unwinding that onnxruntime cannot pass on, and
the process aborts. So a fork, and the end, wait for the calls in flight and hold new ones back.
"""

from __future__ import annotations

import atexit
import os
import threading

from clipshelf.forks import call_in_child


class _Calls:
    """The calls in flight: `with calls:` surrounds each.

    A signal handler may fork or call while its own thread is in a call, which is then not waited for.
    """

    def __init__(self) -> None:
        self._start()
        call_in_child(self, _Calls._start)

    def _start(self) -> None:
        self._changed = threading.Condition()  # its lock is reentrant, for signal handlers
        self._threads: list[int] = []  # the thread of each call in flight
        self._forks = 0
        self._ended = False

    def __enter__(self) -> None:
        thread = threading.get_ident()
        with self._changed:
            if self._forks and thread not in self._threads:
                self._changed.wait_for(lambda: not self._forks)
            if not (self._ended and threading.current_thread().daemon):
                self._threads.append(thread)
                return
        _wait_for_ever()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._threads.remove(threading.get_ident())
            if self._forks or self._ended:
                self._changed.notify_all()

    def hold(self) -> None:
        """Before a fork: hold new calls back, and wait for those in flight."""
        with self._changed:
            self._forks += 1
            self._wait_for_others()

    def release(self) -> None:
        """After the fork, in the parent."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def end(self) -> None:
        """At the end of the process: let no call of a daemon thread start, and wait for those in flight.

        Exit handlers, and threads that they start and join, may still call.
        """
        with self._changed:
            self._ended = True
            self._wait_for_others()

    def _wait_for_others(self) -> None:
        thread = threading.get_ident()
        self._changed.wait_for(lambda: all(other == thread for other in self._threads))


def _wait_for_ever() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


calls = _Calls()  # of the process: there is one onnxruntime
atexit.register(calls.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=calls.hold, after_in_parent=calls.release)
