"""The products that a search finds for a query, and their groups."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from clipshelf.types import DoubleArray, Rows


@dataclass(frozen=True)
class Hits:
    """The k products chosen for a query, best first.

    - `rows`: (k,) rows of the catalogue.
    - `fits`: (k,) scores before diversity, with what the query adds by columns.
    - `penalties`: (k,) what diversity takes from them.
    - `side_factors`: (k,) factors of products that lack a side, 1 for the others.
    - `relevance`: (k,) 0 to 1.
    - `added`: (A, k) what each of the query's additions adds to the fits.
    - `missing`: parts of the store that did not answer; their products are not among the hits.
    """

    rows: Rows
    fits: DoubleArray
    penalties: DoubleArray
    side_factors: DoubleArray
    relevance: DoubleArray
    added: DoubleArray
    missing: AbstractSet[int] = frozenset()

    def take(self, positions: Rows | slice, penalties: DoubleArray) -> Hits:
        """The hits at some positions, with penalties of their own."""
        return Hits(
            self.rows[positions],
            self.fits[positions],
            penalties,
            self.side_factors[positions],
            self.relevance[positions],
            self.added[:, positions],
            self.missing,
        )

    @classmethod
    def joined(cls, parts: Sequence[Hits]) -> Hits:
        """The hits of several parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        arrays = [field.name for field in fields(cls) if field.name != "missing"]
        joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in arrays}
        return replace(parts[0], **joined, missing=frozenset().union(*(part.missing for part in parts)))

    def of_relevance(self, least: float) -> Hits:
        """The hits that have at least a relevance."""
        positions = np.flatnonzero(self.relevance >= least)
        return self.take(positions, self.penalties[positions])


@dataclass(frozen=True)
class HitGroup:
    """The group of a hit.

    - `value`: what its products share, None for a product without a value, which is alone.
    - `size`: number of its products that may be answered, the hit included.
    - `others`: the best of them but for the hit, as many as were asked for.
    """

    value: Any
    size: int
    others: Hits
