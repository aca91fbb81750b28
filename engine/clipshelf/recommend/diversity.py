"""Maximal marginal relevance: of products that fit alike, those that are not alike.

Carbonell and Goldstein, 1998: products are chosen one by one, each time the one with the highest

    fit - diversity * max(0, highest likeness to those chosen before)

Likeness is on the same scale as the fit: the score that the one product has when the other is liked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from clipshelf.types import DoubleArray, Rows

Likeness: TypeAlias = Callable[[int], DoubleArray]  # of all n products to the one at a place, (n,)


def choose(fits: DoubleArray, likeness: Likeness, k: int, diversity: float) -> tuple[Rows, DoubleArray]:
    """Choose k of n products by their fits (n,), best first; places (k,) and what likeness took from each."""
    count = min(k, len(fits))
    places, penalties = np.empty(count, np.int64), np.empty(count)
    highest = np.zeros(len(fits))
    left = fits.copy()
    for i in range(count):
        marginal = left - diversity * highest
        places[i] = best = int(np.argmax(marginal))
        penalties[i] = diversity * highest[best]
        np.maximum(highest, likeness(best), out=highest)
        left[best] = -np.inf
    return places, penalties
