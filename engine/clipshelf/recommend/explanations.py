"""Scores taken apart: what each signal adds to a score through each side of the product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipshelf.catalogue.statistics import Statistics
from clipshelf.recommend.answers import Contributions
from clipshelf.recommend.fusion import QueryVector, centred
from clipshelf.recommend.hits import Hits
from clipshelf.recommend.part_shares import SideShares, has_parts, side_shares
from clipshelf.recommend.signals import Signals
from clipshelf.recommend.store import ProductStore
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray, Product

# Multiply-adds of one matrix product up to which OpenBLAS stays in the calling thread. Its other threads would stay
# awake for milliseconds, on cores that the next query needs.
_SINGLE_THREADED = 1 << 17

_SIDES = {(True, True): (0, 1), (True, False): (0,), (False, True): (1,), (False, False): ()}


class Explainer:
    """Takes scores apart.

    A score is a sum over signals s, their sides a, and the sides b of the product (`clipshelf.recommend.fusion`). A
    contribution is the part of it that belongs to one s and one b, so the contributions of a product add up to its
    score, but for the last bits of float64.
    """

    def __init__(self, store: ProductStore, statistics: Statistics) -> None:
        self._store = store
        self._statistics = statistics

    def explain(
        self,
        signals: Signals,
        weights: Weights,
        vector: QueryVector,
        hits: Hits,
        records: Sequence[Product],
        *,
        added_names: Sequence[str] = (),
    ) -> list[Contributions]:
        """The contributions to the score of each of a query's k hits.

        - `records`: k records of them.
        - `added_names`: of what the query's additions add.
        """
        sides = centred(self._store.fetch(signals.rows), self._statistics)
        if len(signals.embeds):
            embedded = (signals.embeds - self._statistics.means) * signals.present[:, :, None]
            sides = np.concatenate((embedded, sides))
        products = self._store.fetch(hits.rows)
        values = dot_products(sides, centred(products, self._statistics))  # (S, 2, k, 2)
        scale = weights.cosines / self._statistics.spreads / (vector.mass.sum() or 1.0)
        factors = signals.weights[:, None, None, None] * scale[:, None, :]
        values *= factors
        by_side = values[:, 0] + values[:, 1]
        by_side *= hits.side_factors[:, None]
        shares = self._shares(sides, factors[:, :, 0], by_side, hits, records)
        product_sides = map(tuple, products.present.tolist())
        return [
            Contributions(
                signals.names,
                by_side[:, i],
                _SIDES[sides_of_product],
                penalty,
                [(name, float(values[i])) for name, values in zip(added_names, hits.added, strict=True)],
                shares=shares.get(i, {}),
            )
            for i, (sides_of_product, penalty) in enumerate(zip(product_sides, hits.penalties.tolist(), strict=True))
        ]

    def _shares(
        self, sides: DoubleArray, factors: DoubleArray, by_side: DoubleArray, hits: Hits, records: Sequence[Product]
    ) -> dict[int, dict[int, SideShares]]:
        """The shares of parts by hit and side, of products that have several pictures or texts.

        - `sides`, `factors`: (S, 2, D) sides of the signals, and their factors (S, 2, 2) against sides of products.
        - `by_side`: (S, k, 2) the contributions.
        """
        listed = [i for i, record in enumerate(records) if has_parts(record)]
        if not listed:
            return {}
        parts = self._store.parts(hits.rows[listed])
        directions = np.einsum("sab,sad->sbd", factors, sides)
        means = self._statistics.means
        return {
            i: side_shares(
                directions * hits.side_factors[i], means, by_side[:, i], records[i], parts=parts, position=position
            )
            for position, i in enumerate(listed)
        }


def dot_products(sides: DoubleArray, products: DoubleArray) -> DoubleArray:
    """Dot products (S, 2, k, 2) of the sides of signals (S, 2, D) with those of products (k, 2, D)."""
    dim = sides.shape[2]
    rows, columns = sides.reshape(-1, dim), products.reshape(-1, dim).T
    width = min(columns.shape[1], 32)
    height = max(1, _SINGLE_THREADED // (max(1, width) * dim))
    dots = np.empty((rows.shape[0], columns.shape[1]))
    for first in range(0, columns.shape[1], 32):
        for start in range(0, rows.shape[0], height):
            block = slice(start, start + height), slice(first, first + width)
            np.matmul(rows[block[0]], columns[:, block[1]], out=dots[block])
    return dots.reshape(len(sides), 2, len(products), 2)
