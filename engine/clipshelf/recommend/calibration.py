"""How a query's scores lie over the whole catalogue: what makes a product that lacks a side comparable, and what fits.

**Products that lack a side.** The mean of fewer cosines spreads wider: as it is, it would win too often. So a product
with one side is scored by that side, brought to the spread that the scores of complete products have for this query.
Where the catalogue has no gap correction, or hardly any complete products, it is the plain mean of its cosines.

**Relevance.** The best of N products always stands above the others, whether it fits or not. So the question is how
rarely the best of N products that don't fit would score as high: with z the distance from the query's usual score, in
units of its spread, and Phi the normal distribution,

    relevance = Phi(z) ** N

When something fits, the relevance of the best is near 1. When nothing does, it would be anywhere between 0 and 1 alike
if scores were normal; real ones have neighbours that fit a little, so it is high more often than low (docs/quality.md).
The usual score is the median, its spread the 84th percentile's distance from it: a few that fit do not move them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import ENOUGH, IMAGE, TEXT, Statistics, spread_rows
from clipshelf.recommend.signals import Fused
from clipshelf.runtime.session import Product
from clipshelf.types import DoubleArray, FloatArray, Rows

_SAMPLE = 1024  # spreads are then known to about 4 %
_UPPER = 0.84134  # of a normal distribution lies below one standard deviation


@dataclass(frozen=True)
class Usual:
    """The usual scores of Q queries (Q,), their spreads (Q,), and factors (Q, 4) for products by their pattern."""

    middles: DoubleArray
    spreads: DoubleArray
    factors: DoubleArray

    def relevance(self, lines: Rows, scores: DoubleArray, products: int) -> DoubleArray:
        """Relevance (n,), 0 to 1, of scores (n,), each for the query in its line (n,), among so many products."""
        spreads = self.spreads[lines]
        z = np.divide(scores - self.middles[lines], spreads, out=np.zeros(len(lines)), where=spreads > 0)
        # 1 - Phi(z), exact in the far tail too
        above = 0.5 * np.array(list(map(math.erfc, (z / math.sqrt(2)).tolist())))
        with np.errstate(divide="ignore"):  # all are above: log 0
            relevance: DoubleArray = np.exp(products * np.log1p(-above))
        return relevance


def patterns_of(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Patterns (n,) of products with the sides `present` (n, 2): with both 3, with an image only 2, a text only 1."""
    return 2 * present[:, IMAGE].astype(np.uint8) + present[:, TEXT]


class Background:
    """A sample of a catalogue's products, centred."""

    def __init__(self, catalogue: Catalogue, statistics: Statistics) -> None:
        rows = spread_rows(len(catalogue), _SAMPLE)
        present = catalogue.present[rows]
        self._has = present[:, IMAGE], present[:, TEXT]
        self._patterns = patterns_of(present)
        self._complete = self._patterns == 3
        self._matched = statistics.corrects and np.count_nonzero(self._complete) >= ENOUGH
        sides = catalogue.embeddings[rows].reshape(len(rows), 2, catalogue.dim)
        centred = ((sides - statistics.means) * present[:, :, None]).astype(np.float32)
        self._sides = [Product(np.ascontiguousarray(centred[:, side].T), threads=1) for side in (IMAGE, TEXT)]

    def usual(self, queries: Sequence[Fused]) -> Usual:
        """What is usual for each query; among no products, anything is."""
        count, factors = len(queries), np.ones((len(queries), 4))
        if not len(self._patterns):
            return Usual(np.zeros(count), np.zeros(count), factors)
        rows = np.array([query.row for query in queries], np.float32)
        images, texts = (self._sides[side](rows[:, side]) for side in (IMAGE, TEXT))
        scores = images + texts
        if not self._complete.all():
            for side, pattern, own in ((TEXT, 1, texts), (IMAGE, 2, images)):
                factors[:, pattern] = self._factor(queries, side, own, scores)
            scores *= factors[:, self._patterns]
        scores.sort(axis=1)  # of float32, quicker than finding two of them
        middles, uppers = (_quantile(scores, share) for share in (0.5, _UPPER))
        return Usual(middles, uppers - middles, factors)

    def _factor(self, queries: Sequence[Fused], side: int, scores: FloatArray, both: FloatArray) -> DoubleArray:
        """(Q,) for products of one side only, from scores (Q, n) by that side and by both."""
        if not self._matched:
            masses = np.array([query.mass for query in queries])
            total, own = masses.sum(axis=1), masses[:, side]
        else:
            some = both[:, self._complete], scores[:, self._has[side]]
            total, own = (each.std(axis=1, dtype=np.float64) for each in some)
        factors: DoubleArray = np.divide(total, own, out=np.zeros(len(queries)), where=own > 0)
        return factors


def _quantile(values: FloatArray, share: float) -> DoubleArray:
    """Quantiles (Q,) of ascending values (Q, n), between two of them as NumPy has them."""
    place = share * (values.shape[1] - 1)
    below, above = values[:, math.floor(place)].astype(np.float64), values[:, math.ceil(place)]
    quantile: DoubleArray = below + (place % 1) * (above - below)
    return quantile
