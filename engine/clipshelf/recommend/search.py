"""From fused queries to chosen products: candidates by one matrix product, exact scores, diversity, relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, filterfalse, islice

import numpy as np

from clipshelf.calls import calls
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import Statistics
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.calibration import Calibration, side_patterns
from clipshelf.recommend.diversity import Likeness, choose
from clipshelf.recommend.fusion import QueryVector, centred_products
from clipshelf.recommend.resolve import ResolvedQuery
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray, Mask, Rows

# Candidates among which diversity chooses: at least so many, and at least so many times k.
_POOL_AT_LEAST, _POOL_TIMES_K = 200, 20
# Excluded products from which on masking them costs less than finding as many candidates more.
_MASK_EXCLUDED_FROM = 1000


@dataclass(frozen=True)
class Hits:
    """The k products chosen for a query, best first.

    - `rows`: (k,) rows of the catalogue.
    - `fits`: (k,) scores before diversity; `penalties` (k,), what diversity takes from them.
    - `side_factors`: (k,) factors of products that lack a side, 1 for the others.
    - `relevance`: (k,) 0 to 1.
    """

    rows: Rows
    fits: DoubleArray
    penalties: DoubleArray
    side_factors: DoubleArray
    relevance: DoubleArray

    def take(self, positions: Rows | slice, penalties: DoubleArray) -> Hits:
        """The hits at some positions, with penalties of their own."""
        return Hits(
            self.rows[positions],
            self.fits[positions],
            penalties,
            self.side_factors[positions],
            self.relevance[positions],
        )

    def of_relevance(self, least: float) -> Hits:
        """The hits that have at least a relevance."""
        positions = np.flatnonzero(self.relevance >= least)
        return self.take(positions, self.penalties[positions])


class Searcher:
    """Searches one catalogue for fused queries; `threads` is for one search."""

    def __init__(self, catalogue: Catalogue, statistics: Statistics, threads: int) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._embeddings = np.asarray(catalogue.embeddings)  # a memory map without the price of its subclass
        self._ranker = Ranker(self._embeddings, threads=threads)
        self._calibration = Calibration(catalogue, statistics)
        self._patterns = side_patterns(catalogue.present)
        # Scores of products with the same sides differ from the ranker's by a constant and a factor for each query, so
        # the ranker's order holds among them. Each pattern is therefore searched for by itself.
        patterns = np.unique(self._patterns).tolist()
        self._pattern_masks: list[Mask | None] = (
            [None] if len(patterns) < 2 else [self._patterns == pattern for pattern in patterns]
        )

    def search(self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector]) -> list[Hits]:
        """Find the best products of each query; queries that share a mask share the matrix products."""
        if not queries:
            return []
        candidates = self._candidates(queries, vectors)
        levels = self._calibration.levels(vectors)
        counts = [len(rows) for rows in candidates]
        lines, rows = np.arange(len(queries)).repeat(counts), np.concatenate(candidates)
        side_factors = levels.side_factors[lines, self._patterns[rows]]
        fits = side_factors * np.concatenate(list(map(self._plain_fits, vectors, candidates)))
        answerable = np.array([query.answerable for query in queries])
        relevance = levels.relevance(lines, fits, answerable[lines])
        if self._catalogue.relevance_curve is not None:
            relevance = self._catalogue.relevance_curve(relevance)
        order, none = np.lexsort((rows, -fits, lines)), np.zeros(len(rows))
        ordered = Hits(rows, fits, none, side_factors, relevance).take(order, none)
        hits = []
        for query, count, stop in zip(queries, counts, accumulate(counts), strict=True):
            start = stop - count
            pool = slice(start, start + min(count, _pool_size(query)))
            found = ordered.take(pool, none[pool])
            if query.min_relevance:
                found = found.of_relevance(query.min_relevance)
            hits.append(self._diversify(query, found))
        return hits

    def _candidates(self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector]) -> list[Rows]:
        """For each query its best rows of every pattern of sides."""
        groups: dict[tuple[int, int | None], list[int]] = {}
        for i, query in enumerate(queries):
            masked_alone = i if len(query.excluded) > _MASK_EXCLUDED_FROM else None
            groups.setdefault((id(query.mask), masked_alone), []).append(i)
        rows_of: list[list[int]] = [[] for _ in queries]
        for (_, masked_alone), members in groups.items():
            mask = queries[members[0]].mask
            spare = max(len(queries[i].excluded) for i in members)
            if masked_alone is not None:
                mask, spare = self._without(mask, queries[masked_alone].excluded), 0
            rows = np.array([vectors[i].row.reshape(-1) for i in members], np.float32)
            count = spare + max(_pool_size(queries[i]) for i in members)
            for pattern_mask in self._pattern_masks:
                _, best = self._ranker.top_k(rows, count, _both(mask, pattern_mask))
                for i, candidates in zip(members, best.tolist(), strict=True):
                    allowed = filterfalse(queries[i].excluded.__contains__, candidates)
                    rows_of[i] += islice(allowed, _pool_size(queries[i]))
        return [np.array(rows, np.int64) for rows in rows_of]

    def _without(self, mask: Mask | None, excluded: set[int]) -> Mask:
        allowed = np.ones(len(self._catalogue), bool) if mask is None else mask.copy()
        allowed[[*excluded]] = False
        return allowed

    def _plain_fits(self, vector: QueryVector, rows: Rows) -> DoubleArray:
        """Scores (n,) of n rows before their side factors.

        They equal the product of `centred_products` and the vector, without centring each product.
        """
        with calls:
            fits: DoubleArray = self._embeddings[rows] @ vector.row.reshape(-1)
        fits -= self._catalogue.present[rows] @ (self._statistics.means * vector.row).sum(axis=1)
        return fits

    def _diversify(self, query: ResolvedQuery, pool: Hits) -> Hits:
        """The hits that diversity chooses from the pool; all of it without diversity."""
        if not query.diversity:
            return pool
        likeness = self._likeness(pool.rows, query.weights)
        return pool.take(*choose(pool.fits, likeness, query.k, query.diversity))

    def _likeness(self, rows: Rows, weights: Weights) -> Likeness:
        """Likeness among products: the scores (n,) of n rows when one of them is liked."""
        present, sides = self._catalogue.present[rows], centred_products(rows, self._catalogue, self._statistics)
        cosines, scaled = weights.cosines, weights.cosines / self._statistics.spreads
        # A stack of single dot products, for which OpenBLAS wakes no threads.
        stack = sides.reshape(len(rows), 1, 2 * self._catalogue.dim)

        def likeness_to(position: int) -> DoubleArray:
            scores: DoubleArray = np.matmul(stack, (scaled.T @ sides[position]).reshape(-1, 1))[:, 0, 0]
            mass = present @ (present[position] @ cosines)  # weights of the cosines that exist between both
            likeness: DoubleArray = np.divide(scores, mass, out=np.zeros(len(rows)), where=mass > 0)
            return likeness

        return likeness_to


def _pool_size(query: ResolvedQuery) -> int:
    """Number of candidates that are scored exactly for a query."""
    return max(_POOL_AT_LEAST, _POOL_TIMES_K * query.k) if query.diversity else query.k


def _both(mask: Mask | None, other: Mask | None) -> Mask | None:
    if mask is None or other is None:
        return other if mask is None else mask
    return mask & other
