"""How a query's scores lie over the whole catalogue: what makes a product that lacks a side comparable, and what fits.

**Products that lack a side.** The mean of fewer cosines spreads wider: as it is, it would win too often. So a product
with one side is scored by that side, brought to the spread that the scores of complete products have for this query.
Where the catalogue has no gap correction, or hardly any complete products, it is the plain mean of its cosines.

**Relevance.** The best of N products always stands above the others, whether it fits or not. So the question is how
rarely the best of N products that don't fit would score as high: with z the distance from the query's usual score, in
units of its spread, and Phi the normal distribution,

    relevance = Phi(z) ** N

When nothing fits, the relevance of the best is anywhere between 0 and 1 alike; when something does, it is near 1.
The usual score is the median, its spread the 84th percentile's distance from it: a few that fit do not move them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue import Catalogue
from clipshelf.catalogue.statistics import ENOUGH, IMAGE, TEXT, DoubleArray, Statistics, spread_rows
from clipshelf.rank.estimate import products
from clipshelf.signals import Fused

_SAMPLE = 1024  # spreads are then known to about 4 %
_UPPER = 84.134  # percent of a normal distribution lie below one standard deviation
_PATTERN = np.array([2, 1])  # of a product with both sides 3, with an image only 2, with a text only 1


@dataclass(frozen=True)
class Usual:
    """A query's usual score, its spread, and the factors for products by the sides that they have."""

    middle: float
    spread: float
    factors: DoubleArray  # by pattern

    def gains(self, present: npt.NDArray[np.bool_]) -> DoubleArray:
        """Factors (n,) for products with the sides `present` (n, 2)."""
        gains: DoubleArray = self.factors[present @ _PATTERN]
        return gains

    def relevance(self, score: float, products: int) -> float:
        """Relevance, 0 to 1, of a score among so many products."""
        z = (score - self.middle) / self.spread if self.spread > 0 else 0.0
        above = 0.5 * math.erfc(z / math.sqrt(2))  # 1 - Phi(z), exact in the far tail too
        return math.exp(products * math.log1p(-above)) if above < 1 else 0.0


class Background:
    """A sample of a catalogue's products, centred."""

    def __init__(self, catalogue: Catalogue, statistics: Statistics) -> None:
        rows = spread_rows(len(catalogue), _SAMPLE)
        present = catalogue.present[rows]
        self._has = present[:, IMAGE], present[:, TEXT]
        self._patterns = present @ _PATTERN
        self._complete = self._patterns == 3
        self._matched = statistics.corrects and np.count_nonzero(self._complete) >= ENOUGH
        sides = catalogue.embeddings[rows].reshape(len(rows), 2, catalogue.dim)
        centred = ((sides - statistics.means) * present[:, :, None]).astype(np.float32)
        self._sides = centred[:, IMAGE], centred[:, TEXT]

    def usual(self, queries: Sequence[Fused]) -> list[Usual]:
        """What is usual for each query; among no products, anything is."""
        if not len(self._patterns):
            return [Usual(0.0, 0.0, np.ones(4))] * len(queries)
        rows = np.array([query.row for query in queries], np.float32)
        images, texts = (products(rows[:, side], self._sides[side]).astype(np.float64) for side in (IMAGE, TEXT))
        factors = np.ones((len(queries), 4))
        if not self._complete.all():
            for side, pattern, scores in ((TEXT, 1, texts), (IMAGE, 2, images)):
                factors[:, pattern] = self._factor(queries, side, scores, images + texts)
        scores = (images + texts) * factors[:, self._patterns]
        middles, uppers = np.percentile(scores, [50, _UPPER], axis=1)
        return [Usual(*parts) for parts in zip(middles.tolist(), (uppers - middles).tolist(), factors, strict=True)]

    def _factor(self, queries: Sequence[Fused], side: int, scores: DoubleArray, both: DoubleArray) -> DoubleArray:
        """(Q,) for products of one side only, from scores (Q, n) by that side and by both."""
        if not self._matched:
            masses = np.array([query.mass for query in queries])
            total, own = masses.sum(axis=1), masses[:, side]
        else:
            total, own = both[:, self._complete].std(axis=1), scores[:, self._has[side]].std(axis=1)
        factors: DoubleArray = np.divide(total, own, out=np.zeros(len(queries)), where=own > 0)
        return factors
