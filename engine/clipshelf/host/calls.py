"""What concerns every call of the C interface: what may end it early, and the host's log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from clipshelf.errors import Interrupted, TimedOut
from clipshelf.host.statuses import utf8
from clipshelf.interrupts import interruptible

Log: TypeAlias = Callable[[int, bytes], object]  # takes a level, as `clipshelf_level` of clipshelf.h, and a message

NOTE, WARNING = 0, 1

_log: Log | None = None


def begin_call(milliseconds: int, waited: float, cancelled: memoryview | None) -> AbstractContextManager[None]:
    """Let a call of this thread be ended early, until `end_call` is given what is returned.

    - `milliseconds`: how long it may take, 0 for as long as it takes.
    - `waited`: milliseconds since it began.
    - `cancelled`: a byte that is not 0 once the call is to end; None for none.
    """
    deadline = time.monotonic() + (milliseconds - waited) / 1000

    def check() -> None:
        if cancelled is not None and cancelled[0]:
            raise Interrupted("expected a call that may go on, found one that was cancelled")
        if milliseconds and time.monotonic() > deadline:
            raise TimedOut(f"expected an answer within {milliseconds} ms of the start of the call, found none")

    block = interruptible(check)
    block.__enter__()
    return block


def end_call(block: AbstractContextManager[None]) -> None:
    """Forget what `begin_call` set."""
    block.__exit__(None, None, None)


def set_log(log: Log, owns_interpreter: bool) -> None:
    """Give messages to the host from now on.

    - `owns_interpreter`: whether the host started the interpreter. Errors of threads and of destructors, which Python
      prints to standard error, go to the log then.
    """
    global _log  # noqa: PLW0603  (there is one host)
    _log = log
    if owns_interpreter:
        sys.unraisablehook = lambda error: log_warning(f"{type(error.exc_value).__name__}: {error.exc_value}")
        threading.excepthook = lambda error: log_warning(f"{error.exc_type.__name__}: {error.exc_value}")


def log_note(message: str) -> None:
    """Tell the host what fails nothing: a guess, a cell that counts as missing."""
    _write(NOTE, message)


def log_warning(message: str) -> None:
    """Tell the host what went wrong beside its calls."""
    _write(WARNING, message)


def _write(level: int, message: str) -> None:
    if _log is not None:
        _log(level, utf8(message))
