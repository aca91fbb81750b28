"""From fused queries to chosen products: candidates by one matrix product, exact scores, diversity, relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, filterfalse, islice

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import Statistics
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.calibration import Background, patterns_of
from clipshelf.recommend.diversity import Likeness, choose
from clipshelf.recommend.query import Weights
from clipshelf.recommend.signals import Fused, centred
from clipshelf.types import DoubleArray, Mask, Rows

# Diversity chooses among so many products, and so many times k.
_POOL, _POOL_TIMES = 200, 20
_MANY = 1000  # products to leave out, from which masking them is cheaper than finding more and dropping them


@dataclass(frozen=True)
class Request:
    """A fused query, and which products may answer it: those of `mask` (N,), if any, but for the rows `left_out`."""

    fused: Fused
    weights: Weights
    k: int
    mask: Mask | None
    left_out: set[int]
    diversity: float

    @property
    def pool(self) -> int:
        """How many candidates are looked at."""
        return max(_POOL, _POOL_TIMES * self.k) if self.diversity else self.k


@dataclass(frozen=True)
class Found:
    """Chosen rows (k,), best first: the factors of their sides, fits, what diversity took, and relevance, all (k,)."""

    rows: Rows
    gains: DoubleArray
    fits: DoubleArray
    penalties: DoubleArray
    relevance: DoubleArray

    def at(self, places: Rows | slice, penalties: DoubleArray) -> Found:
        """Those at some places, with what diversity took from them."""
        return Found(self.rows[places], self.gains[places], self.fits[places], penalties, self.relevance[places])


class Searcher:
    """Searches one catalogue, with so many threads."""

    def __init__(self, catalogue: Catalogue, statistics: Statistics, threads: int) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._embeddings = np.asarray(catalogue.embeddings)  # a memory map without the price of its subclass
        self._ranker = Ranker(self._embeddings, threads=threads)
        self._background = Background(catalogue, statistics)
        self._patterns = patterns_of(catalogue.present)
        kinds = np.unique(self._patterns).tolist()
        # Products with both sides, one, or the other: scores of one kind differ from the ranker's by a constant and a
        # factor, so that its order is theirs.
        self._kinds: list[Mask | None] = [None] if len(kinds) < 2 else [self._patterns == kind for kind in kinds]

    def search(self, requests: Sequence[Request]) -> list[Found]:
        """Answer all requests; those that share a mask share the matrix products."""
        if not requests:
            return []
        candidates = self._candidates(requests)
        usual = self._background.usual([request.fused for request in requests])
        counts = [len(rows) for rows in candidates]
        lines, rows = np.arange(len(requests)).repeat(counts), np.concatenate(candidates)
        gains = usual.factors[lines, self._patterns[rows]]
        fits = gains * np.concatenate(list(map(self._fits, requests, candidates)))
        relevance = usual.relevance(lines, fits, len(self._catalogue))
        order = np.lexsort((rows, -fits, lines))
        none = np.zeros(len(rows))
        found = Found(rows, gains, fits, none, relevance).at(order, none)
        stops = accumulate(counts)
        owns = [slice(stop - n, stop - n + min(n, r.pool)) for r, n, stop in zip(requests, counts, stops, strict=True)]
        return [self._choose(r, found.at(own, none[own])) for r, own in zip(requests, owns, strict=True)]

    def _candidates(self, requests: Sequence[Request]) -> list[Rows]:
        """For each request its best rows of every kind of product, best first."""
        groups: dict[tuple[int, int | None], list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault((id(request.mask), i if len(request.left_out) > _MANY else None), []).append(i)
        found: list[list[int]] = [[] for _ in requests]
        for (_, alone), members in groups.items():
            mask = requests[members[0]].mask
            if alone is not None:
                mask = np.ones(len(self._catalogue), bool) if mask is None else mask.copy()
                mask[[*requests[alone].left_out]] = False
            extra = 0 if alone is not None else max(len(requests[i].left_out) for i in members)
            queries = np.array([requests[i].fused.row.reshape(-1) for i in members], np.float32)
            count = extra + max(requests[i].pool for i in members)
            for kind in self._kinds:
                both = mask if kind is None else kind if mask is None else mask & kind
                _, rows = self._ranker.top_k(queries, count, both)
                for i, own in zip(members, rows.tolist(), strict=True):
                    found[i] += islice(filterfalse(requests[i].left_out.__contains__, own), requests[i].pool)
        return [np.array(rows, np.int64) for rows in found]

    def _fits(self, request: Request, rows: Rows) -> DoubleArray:
        """Scores (n,) of some rows, but for the factors of their sides.

        The same as `centred` products by the query's row, without centring each product.
        """
        row = request.fused.row
        fits: DoubleArray = self._embeddings[rows] @ row.reshape(-1)
        fits -= self._catalogue.present[rows] @ (self._statistics.means * row).sum(axis=1)
        return fits

    def _choose(self, request: Request, found: Found) -> Found:
        """Of what fits best, what diversity chooses."""
        if not request.diversity:
            return found
        likeness = self._likeness(found.rows, request.weights)
        return found.at(*choose(found.fits, likeness, request.k, request.diversity))

    def _likeness(self, rows: Rows, weights: Weights) -> Likeness:
        """How alike products of some rows (n,) are to one: their scores (n,) when that is liked."""
        present, sides = self._catalogue.present[rows], centred(rows, self._catalogue, self._statistics)
        cosines, scaled = weights.cosines, weights.cosines / self._statistics.spreads
        # dot products of their own, for which OpenBLAS wakes no threads
        stack = sides.reshape(len(rows), 1, 2 * self._catalogue.dim)

        def to(one: int) -> DoubleArray:
            scores: DoubleArray = np.matmul(stack, (scaled.T @ sides[one]).reshape(-1, 1))[:, 0, 0]
            own = present @ (present[one] @ cosines)  # weights of the cosines that both have
            likeness: DoubleArray = np.divide(scores, own, out=np.zeros(len(rows)), where=own > 0)
            return likeness

        return to
