"""`cached_property` without the lock that Python 3.11 takes in it.

That lock is one for all objects, so that threads wait for each other's values, and a child that is forked while one is
computed waits for ever. From 3.12 on it is gone: https://docs.python.org/3/library/functools.html#functools.cached_property
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__all__ = ["cached_property"]

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:  # noqa: N801
        """The value of a method, computed on first use and then an attribute of the object.

        Threads that come at the same time may each compute it.
        """

        def __init__(self, method: Callable[[Any], Any]) -> None:
            self._method = method
            self.__doc__ = method.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            values = vars(instance)
            if self._name not in values:
                values[self._name] = self._method(instance)
            return values[self._name]
