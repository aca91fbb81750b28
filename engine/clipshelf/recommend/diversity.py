"""Maximal marginal relevance: products that fit, and that are unlike each other (Carbonell and Goldstein, 1998).

Products are chosen one by one, each time the one with the highest

    fit - diversity * max(0, highest likeness to the products chosen before)

Likeness is on the scale of the fit: the score of a product when the other one is liked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from clipshelf.types import DoubleArray, Rows

# (n,) likeness of n products to the one at a position among them.
Likeness: TypeAlias = Callable[[int], DoubleArray]


def choose(fits: DoubleArray, likeness: Likeness, k: int, diversity: float) -> tuple[Rows, DoubleArray]:
    """Choose k of n products.

    - `fits`: (n,).
    - `likeness`: of all products to one of them.
    - `diversity`: 0 to 1.

    Returns the positions (k,) of the chosen products, best first, and what likeness took from the fit of each, (k,).
    """
    count = min(k, len(fits))
    positions, penalties = np.empty(count, np.int64), np.empty(count)
    highest = np.zeros(len(fits))
    remaining = fits.copy()
    for i in range(count):
        marginal = remaining - diversity * highest
        positions[i] = best = int(np.argmax(marginal))
        penalties[i] = diversity * highest[best]
        np.maximum(highest, likeness(best), out=highest)
        remaining[best] = -np.inf
    return positions, penalties
