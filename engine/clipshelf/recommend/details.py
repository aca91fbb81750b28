"""What the items of an answer tell when they are asked: the product's record, and what makes up its score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import SIDES, Statistics
from clipshelf.recommend.answers import Contribution
from clipshelf.recommend.search import Found, Request
from clipshelf.recommend.signals import Signals, centred
from clipshelf.types import DoubleArray, Product


@dataclass(frozen=True)
class Details:
    """The details of one answer's items, by their place in it."""

    catalogue: Catalogue
    statistics: Statistics
    request: Request
    signals: Signals
    found: Found

    def product(self, place: int) -> Product:
        """The record of the product."""
        record: Product = self.catalogue.products[self.found.rows[place]]
        return record

    def contributions(self, place: int) -> tuple[Contribution, ...]:
        """What each signal adds to the score by each side that the product has, and what diversity takes from it."""
        row, gain, penalty = (part[place] for part in (self.found.rows, self.found.gains, self.found.penalties))
        values = (gain * self._parts(row)).tolist()
        explained = [
            Contribution(kind, id_, SIDES[side], own[side])
            for (kind, id_), own in zip(self.signals.names, values, strict=True)
            for side in np.flatnonzero(self.catalogue.present[row]).tolist()
        ]
        return (*explained, *([Contribution("diversity", None, None, -float(penalty))] if penalty else ()))

    def _parts(self, row: int) -> DoubleArray:
        """What each signal adds to a product with both sides (S, 2), by side of the product."""
        signals, cosines = self.signals, self.request.weights.cosines
        free = (signals.free - self.statistics.means) * signals.sides[:, :, None]
        sides = np.concatenate((free, centred(signals.rows, self.catalogue, self.statistics)))
        present = np.concatenate((signals.sides, self.catalogue.present[signals.rows])).astype(np.float64)
        mass = float((cosines.T @ (np.abs(signals.weights) @ present)).sum()) or 1.0
        product = centred(np.array([row]), self.catalogue, self.statistics)[0]
        scale = cosines / self.statistics.spreads / mass
        parts: DoubleArray = np.einsum("s,sad,ab,bd->sb", signals.weights, sides, scale, product, optimize=True)
        return parts
