"""Bisection over whole numbers."""

from __future__ import annotations

from collections.abc import Callable


def last_true(low: int, high: int, condition: Callable[[int], bool]) -> int:
    """Return the last number from `low` on for which `condition` is true, by bisection.

    - `low`: a number for which the condition is true; it is not evaluated there.
    - `high`: a larger number for which it is false; it is not evaluated there.
    - `condition`: true up to some number and false from the next one on.
    """
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if condition(middle) else (low, middle)
    return low
