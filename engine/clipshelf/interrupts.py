"""Lets a caller end a call of its own thread before the call is done.

The caller runs it in the block of `interruptible`, and gives a function that raises `Interrupted` once the call is to
end. What takes long asks between its parts, by `check_interrupt`: the runtime does before each run of a graph, and a
writer does while it waits for another one. So a call ends within one run, and leaves nothing half done behind, as
after any other error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Check: TypeAlias = Callable[[], object]

_check: ContextVar[Check | None] = ContextVar("check", default=None)


@contextmanager
def interruptible(check: Check) -> Iterator[None]:
    """Let `check` end what this thread runs in the block, by raising Interrupted."""
    token = _check.set(check)
    try:
        check()
        yield
    finally:
        _check.reset(token)


def check_interrupt() -> None:
    """Raise Interrupted where the caller of this thread wants its call to end."""
    check = _check.get()
    if check is not None:
        check()
