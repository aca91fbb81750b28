"""How the signals of a query become one row over the joined matrix (N, 2D) of image rows | text rows.

With weight w of signal s, W of the cosine between query side a and product side b, and z that cosine on the catalogue's
scale (`clipshelf.catalogue.statistics`), the score of product p is the weighted mean over all s, a and b that exist:

    score(p) = sum w[s] W[a, b] z[s, a, p, b]  /  sum |w[s]| W[a, b]

Every z is linear in the product's rows. So the scores of all products that have both sides are one row times the joined
matrix, less a constant. A product that lacks a side is scored by the half of the row that belongs to its other side,
times a factor that `clipshelf.recommend.calibration` explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clipshelf.calls import calls
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import IMAGE, TEXT, Statistics
from clipshelf.recommend.signals import Signals
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray, Rows

# Queries whose products are fetched at a time, which bounds the memory for their rows.
_QUERIES_AT_A_TIME = 64


@dataclass(frozen=True)
class QueryVector:
    """One fused query.

    - `row`: (2, D) against image rows and text rows; `row @ centred product` is the score of a complete product.
    - `mass`: (2,) sum of the absolute weights against either side; both are 0 where no signal counts.
    """

    row: DoubleArray
    mass: DoubleArray


def centred_products(rows: Rows, catalogue: Catalogue, statistics: Statistics) -> DoubleArray:
    """Sides (n, 2, D) of n products, less the mean of each side; 0 where a product lacks one."""
    sides = np.asarray(catalogue.embeddings).take(rows, axis=0).astype(np.float64).reshape(-1, 2, catalogue.dim)
    sides -= statistics.means  # in place: NumPy casts and subtracts in one step at a third of the rate
    present = catalogue.present[rows]
    if not present.all():
        sides *= present[:, :, None]
    return sides


def fuse(
    signals: Sequence[Signals], weights: Sequence[Weights], catalogue: Catalogue, statistics: Statistics
) -> list[QueryVector]:
    """Fuse the signals of Q queries, each with its weights, to one vector each."""
    if not signals:
        return []
    sums, masses = _weight_sums(signals, catalogue)
    centred = np.array(list(_weighted_sides(signals, catalogue))) - sums[:, :, None] * statistics.means
    cosines = np.array([each.cosines for each in weights]).transpose(0, 2, 1)  # product side by query side
    masses = np.matmul(cosines, masses[:, :, None])[:, :, 0]
    rows = np.matmul(cosines / statistics.spreads.T, centred)
    totals = masses.sum(axis=1)
    rows /= np.where(totals, totals, 1.0)[:, None, None]
    return list(map(QueryVector, rows, masses))


def _weighted_sides(signals: Sequence[Signals], catalogue: Catalogue) -> Iterator[DoubleArray]:
    """For each query the sum of its signals' sides times their weights, (2, D)."""
    for start in range(0, len(signals), _QUERIES_AT_A_TIME):
        group = signals[start : start + _QUERIES_AT_A_TIME]
        products = catalogue.embeddings[np.concatenate([query.rows for query in group])].astype(np.float64)
        stop = 0
        for query in group:
            first, stop, embedded = stop, stop + len(query.rows), len(query.embeds)
            with calls:
                total = query.weights[embedded:] @ products[first:stop]
                if embedded:
                    total += query.weights[:embedded] @ query.embeds.reshape(embedded, -1)
            yield total.reshape(2, -1)


def _weight_sums(signals: Sequence[Signals], catalogue: Catalogue) -> tuple[DoubleArray, DoubleArray]:
    """Sums of each query's weights, and of their absolute values, over the signals that have a side: (Q, 2) both."""
    weights = np.concatenate([query.weights for query in signals])
    lines = np.arange(len(signals)).repeat([len(query.weights) for query in signals])
    present = np.concatenate([part for query in signals for part in (query.present, catalogue.present[query.rows])])

    def sums(values: DoubleArray) -> DoubleArray:
        by_side = [np.bincount(lines, values * present[:, side], len(signals)) for side in (IMAGE, TEXT)]
        return np.stack(by_side, axis=1).astype(np.float64, copy=False)

    return sums(weights), sums(np.abs(weights))
