"""What a forked child makes anew, and what it must not destroy.

A fork copies only the thread that forks. The child lacks the other threads, and the locks that they held stay locked.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

Owner = TypeVar("Owner")

# By the object that a method is bound to. A WeakMethod would complain when it dies while the interpreter ends.
_METHODS: WeakKeyDictionary[Any, Callable[[Any], object]] = WeakKeyDictionary()
_UNDESTROYED: WeakSet[Any] = WeakSet()


def call_in_child(owner: Owner, method: Callable[[Owner], object]) -> None:
    """Call `method(owner)` in each forked child for as long as `owner` lives; one method for each owner.

    It runs before the fork returns in the child, in its only thread. A system without forks never calls it.
    """
    _METHODS[owner] = method


def never_destroy_in_child(resource: object) -> None:
    """Have forked children keep `resource`, even when they end: its destructor would wait for threads they lack."""
    _UNDESTROYED.add(resource)


def _follow_fork() -> None:
    for resource in list(_UNDESTROYED):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(resource))  # a reference that nothing ever gives back
    _UNDESTROYED.clear()
    for owner, method in list(_METHODS.items()):
        method(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_follow_fork)
