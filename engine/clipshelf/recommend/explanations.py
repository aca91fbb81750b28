"""Scores taken apart: what each signal adds to a score through each side of the product."""

from __future__ import annotations

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import Statistics
from clipshelf.recommend.answers import Contributions
from clipshelf.recommend.fusion import QueryVector, centred_products
from clipshelf.recommend.search import Hits
from clipshelf.recommend.signals import Signals
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray

# Multiply-adds of one matrix product, below which OpenBLAS stays in the calling thread. Its other threads would stay
# awake for milliseconds, on cores that the next query needs.
_SINGLE_THREADED = 1 << 17

_SIDES = {(True, True): (0, 1), (True, False): (0,), (False, True): (1,), (False, False): ()}


def explain(
    signals: Signals,
    weights: Weights,
    vector: QueryVector,
    hits: Hits,
    *,
    catalogue: Catalogue,
    statistics: Statistics,
) -> list[Contributions]:
    """The contributions to the score of each of k hits.

    The score is linear in the signals (`clipshelf.recommend.fusion`), so it is their sum to within rounding.
    """
    centred = (signals.embeds - statistics.means) * signals.present[:, :, None]
    if len(signals.rows):
        centred = np.concatenate((centred, centred_products(signals.rows, catalogue, statistics)))
    scale = weights.cosines / statistics.spreads / (vector.mass.sum() or 1.0)
    directions = np.matmul(scale.T, centred) * signals.weights[:, None, None]  # (S, 2, D) against the product's sides
    products = centred_products(hits.rows, catalogue, statistics)
    values = _products_by_side(products, directions) * hits.side_factors[:, None, None]
    return [
        Contributions(signals.names, each, _SIDES[present], penalty)
        for each, present, penalty in zip(
            values, map(tuple, catalogue.present[hits.rows].tolist()), hits.penalties.tolist(), strict=True
        )
    ]


def _products_by_side(products: DoubleArray, directions: DoubleArray) -> DoubleArray:
    """Dot products (k, S, 2) of products (k, 2, D) with directions (S, 2, D), side by side."""
    count, signals, dim = len(products), len(directions), products.shape[2]
    values = np.empty((count, signals, 2))
    rows = max(1, min(count, 16))
    columns = max(1, _SINGLE_THREADED // (rows * dim))
    for start in range(0, count, rows):
        for first in range(0, signals, columns):
            block = slice(start, start + rows), slice(first, first + columns)
            for side in range(2):
                values[(*block, side)] = products[block[0], side] @ directions[block[1], side].T
    return values
