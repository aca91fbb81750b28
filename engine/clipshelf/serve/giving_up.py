"""Giving up a change: possible until it begins to be saved, and not after that."""

from __future__ import annotations

import threading


class GivenUpError(Exception):
    """Nobody waits for a change any more, and nothing of it is saved."""


class Pending:
    """A change that is either saved or given up, whichever comes first.

    The thread that works calls `check` and `begin_to_save`; the loop calls `give_up`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_saved = False
        self._is_given_up = False

    def give_up(self) -> bool:
        """Whether nothing of the change will be saved; False once saving has begun."""
        with self._lock:
            self._is_given_up = not self._is_saved
            return self._is_given_up

    def check(self, *_: object) -> None:
        """Raise GivenUpError for a change that was given up; may be called as the progress of an embedding."""
        if self._is_given_up:
            raise GivenUpError

    def begin_to_save(self) -> None:
        """Keep the change from being given up from now on. Raises GivenUpError where it was."""
        with self._lock:
            self.check()
            self._is_saved = True
