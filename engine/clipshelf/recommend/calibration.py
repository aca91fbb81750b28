"""How the scores of a query lie over the catalogue, which makes scores of different products and queries comparable.

**Products that lack a side.** The mean of fewer cosines spreads wider, so such a product would win too often. It is
scored by the side that it has, times a factor that gives these scores the spread of the scores of complete products for
the same query. Where the catalogue has no gap correction, or fewer than 16 complete products in the sample, its score
is the plain mean of its cosines.

**Relevance.** The best of N products always stands above the others, whether it fits or not. Relevance says how rarely
the best of the N products that may be answered would score as high, if none of them fitted. With z the distance of the
score from the query's median over the catalogue, in units of its spread, and Phi the normal distribution,

    relevance = Phi(z) ** N

It is near 1 for the best product when something fits. When nothing fits, it would be uniform between 0 and 1 if scores
were normal; docs/quality.md measures how far real scores are from that. The spread is the distance of the 84th
percentile from the median: the few products that fit do not move either of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.contents import present_sides
from clipshelf.catalogue.statistics import IMAGE, MIN_PRODUCTS, TEXT, Statistics
from clipshelf.recommend.fusion import QueryVector
from clipshelf.runtime.matmul import FloatMatMul
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

COMPLETE = 3  # the pattern of a product with both sides, whose factor is 1
_ONE_SIGMA = 0.84134  # share of a normal distribution that lies below one standard deviation


@dataclass(frozen=True)
class ScoreLevels:
    """Levels of the scores of Q queries.

    - `medians`, `spreads`: (Q,) of the scores over the catalogue.
    - `side_factors`: (Q, 4) for products by the number that `side_patterns` gives them.
    """

    medians: DoubleArray
    spreads: DoubleArray
    side_factors: DoubleArray

    def relevance(self, lines: Rows, scores: DoubleArray, products: Rows) -> DoubleArray:
        """Relevance (n,), 0 to 1, of n scores.

        - `lines`: (n,) the query of each score.
        - `scores`: (n,).
        - `products`: (n,) N, how many products each score is the best of.
        """
        spreads = self.spreads[lines]
        z = np.divide(scores - self.medians[lines], spreads, out=np.zeros(len(lines)), where=spreads > 0)
        # 1 - Phi(z), which erfc keeps exact in the far tail
        above = 0.5 * np.array(list(map(math.erfc, (z / math.sqrt(2)).tolist())))
        with np.errstate(divide="ignore"):  # log 0 where all products score higher
            relevance: DoubleArray = np.exp(products * np.log1p(-above))
        return relevance


def side_patterns(present: Mask) -> npt.NDArray[np.uint8]:
    """(n,) uint8 for products with the sides `present` (n, 2): both 3, image only 2, text only 1, none 0."""
    return 2 * present[:, IMAGE].astype(np.uint8) + present[:, TEXT]


class Calibration:
    """Measures score levels on a sample of a catalogue's products.

    - `sample`: (n, 2D) float32, their embeddings.
    - `statistics`: of the catalogue.
    """

    def __init__(self, sample: FloatArray, statistics: Statistics) -> None:
        present = present_sides(sample)
        self._present = present[:, IMAGE], present[:, TEXT]
        self._patterns = side_patterns(present)
        self._complete = self._patterns == COMPLETE
        self._match_spreads = statistics.corrects and np.count_nonzero(self._complete) >= MIN_PRODUCTS
        sides = sample.reshape(len(sample), 2, sample.shape[1] // 2)
        centred = ((sides - statistics.means) * present[:, :, None]).astype(np.float32)
        self._sides = [FloatMatMul(np.ascontiguousarray(centred[:, side].T), threads=1) for side in (IMAGE, TEXT)]

    def levels(self, queries: Sequence[QueryVector]) -> ScoreLevels:
        """Score levels of Q queries; zeros for a catalogue without products."""
        count, factors = len(queries), np.ones((len(queries), 4))
        if not len(self._patterns):
            return ScoreLevels(np.zeros(count), np.zeros(count), factors)
        rows = np.array([query.row for query in queries], np.float32)
        images, texts = (self._sides[side](rows[:, side]) for side in (IMAGE, TEXT))
        scores = images + texts
        if not self._complete.all():
            for side, pattern, side_scores in ((TEXT, 1, texts), (IMAGE, 2, images)):
                factors[:, pattern] = self._side_factors(queries, side, side_scores, scores)
            scores *= factors[:, self._patterns]
        scores.sort(axis=1)  # of float32, which is quicker than partitioning at two positions
        medians, one_sigma = (_quantiles(scores, share) for share in (0.5, _ONE_SIGMA))
        return ScoreLevels(medians, one_sigma - medians, factors)

    def _side_factors(
        self, queries: Sequence[QueryVector], side: int, side_scores: FloatArray, scores: FloatArray
    ) -> DoubleArray:
        """(Q,) factors of products that have `side` only, from scores (Q, n) by that side and by both."""
        if self._match_spreads:
            both = scores[:, self._complete].std(axis=1, dtype=np.float64)
            alone = side_scores[:, self._present[side]].std(axis=1, dtype=np.float64)
        else:
            masses = np.array([query.mass for query in queries])
            both, alone = masses.sum(axis=1), masses[:, side]
        factors: DoubleArray = np.divide(both, alone, out=np.zeros(len(queries)), where=alone > 0)
        return factors


def _quantiles(values: FloatArray, share: float) -> DoubleArray:
    """Quantiles (Q,) of ascending values (Q, n), interpolated linearly as NumPy does."""
    position = share * (values.shape[1] - 1)
    below, above = values[:, math.floor(position)].astype(np.float64), values[:, math.ceil(position)]
    quantiles: DoubleArray = below + (position % 1) * (above - below)
    return quantiles
