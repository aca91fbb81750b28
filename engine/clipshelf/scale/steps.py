"""Steps that are taken for many numbers, such as one for each shard, in this process or in others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Run(Protocol):
    """Takes a step for the numbers from 0 to `count`, wherever it likes; returns the results in order.

    A step and its results can be pickled.
    """

    def __call__(self, step: Callable[[int], Result], count: int, /) -> Iterable[Result]:
        """Take the step."""


def run_here(step: Callable[[int], Result], count: int, /) -> Iterable[Result]:
    """Take a step for all numbers in this process, one after the other."""
    return map(step, range(count))
