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
from clipshelf.catalogue.statistics import IMAGE, TEXT, Statistics
from clipshelf.recommend.signals import Signals
from clipshelf.recommend.store import ProductStore, Sides
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray


@dataclass(frozen=True)
class QueryVector:
    """One fused query.

    - `row`: (2, D) against image rows and text rows; `row @ centred product` is the score of a complete product.
    - `mass`: (2,) sum of the absolute weights against either side; both are 0 where no signal counts.
    """

    row: DoubleArray
    mass: DoubleArray


def centred(products: Sides, statistics: Statistics) -> DoubleArray:
    """Sides (n, 2, D) of n products, less the mean of each side; 0 where a product lacks one."""
    sides = products.embeddings.astype(np.float64).reshape(-1, *statistics.means.shape)
    sides -= statistics.means  # in place: NumPy casts and subtracts in one step at a third of the rate
    if not products.present.all():
        sides *= products.present[:, :, None]
    return sides


def fuse(
    signals: Sequence[Signals], weights: Sequence[Weights], store: ProductStore, statistics: Statistics
) -> list[QueryVector]:
    """Fuse the signals of Q queries, each with its weights, to one vector each."""
    if not signals:
        return []
    products = store.fetch(np.concatenate([query.rows for query in signals]))
    sums, masses = _weight_sums(signals, products)
    sides = np.array(list(_weighted_sides(signals, products))) - sums[:, :, None] * statistics.means
    cosines = np.array([each.cosines for each in weights]).transpose(0, 2, 1)  # product side by query side
    masses = np.matmul(cosines, masses[:, :, None])[:, :, 0]
    rows = np.matmul(cosines / statistics.spreads.T, sides)
    totals = masses.sum(axis=1)
    rows /= np.where(totals, totals, 1.0)[:, None, None]
    return list(map(QueryVector, rows, masses))


def _weighted_sides(signals: Sequence[Signals], products: Sides) -> Iterator[DoubleArray]:
    """For each query the sum of its signals' sides times their weights, (2, D); `products` are those of all in turn."""
    stop = 0
    for query in signals:
        first, stop, embedded = stop, stop + len(query.rows), len(query.embeds)
        rows = products.embeddings[first:stop].astype(np.float64)
        with calls:
            total = query.weights[embedded:] @ rows
            if embedded:
                total += query.weights[:embedded] @ query.embeds.reshape(embedded, -1)
        yield total.reshape(2, -1)


def _weight_sums(signals: Sequence[Signals], products: Sides) -> tuple[DoubleArray, DoubleArray]:
    """Sums of each query's weights, and of their absolute values, over the signals that have a side: (Q, 2) both."""
    weights = np.concatenate([query.weights for query in signals])
    lines = np.arange(len(signals)).repeat([len(query.weights) for query in signals])
    stops = np.cumsum([len(query.rows) for query in signals])
    of_products = np.split(products.present, stops[:-1])
    present = np.concatenate(
        [part for query, rows in zip(signals, of_products, strict=True) for part in (query.present, rows)]
    )

    def sums(values: DoubleArray) -> DoubleArray:
        by_side = [np.bincount(lines, values * present[:, side], len(signals)) for side in (IMAGE, TEXT)]
        return np.stack(by_side, axis=1).astype(np.float64, copy=False)

    return sums(weights), sums(np.abs(weights))
