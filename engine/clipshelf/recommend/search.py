"""From fused queries to chosen products: candidates by one matrix product, exact scores, diversity, relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, filterfalse, islice
from typing import Any

import numpy as np

from clipshelf.calls import calls
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import Statistics
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.boosts import Booster, WordMatch
from clipshelf.recommend.calibration import Calibration, side_patterns
from clipshelf.recommend.diversity import Likeness, choose
from clipshelf.recommend.fusion import QueryVector, centred_products
from clipshelf.recommend.groups import Grouping
from clipshelf.recommend.hits import HitGroup, Hits
from clipshelf.recommend.resolve import ResolvedQuery
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

# Candidates among which diversity chooses: at least so many, and at least so many times k.
_POOL_AT_LEAST, _POOL_TIMES_K = 200, 20
_COMPLETE = 3  # the pattern of a product with both sides, whose factor is 1
# Candidates among which groups are looked for: at first at least so many and so many times k, later up to so many.
_GROUPED_AT_LEAST, _GROUPED_TIMES_K, _GROUPED_AT_MOST = 64, 4, 1 << 14
# Excluded products from which on masking them costs less than finding as many candidates more.
_MASK_EXCLUDED_FROM = 1000


class Searcher:
    """Searches one catalogue for fused queries; `threads` is for one search."""

    def __init__(self, catalogue: Catalogue, statistics: Statistics, threads: int) -> None:
        self._catalogue = catalogue
        self._statistics = statistics
        self._embeddings = np.asarray(catalogue.embeddings)  # a memory map without the price of its subclass
        self._ranker = Ranker(self._embeddings, threads=threads)
        self._calibration = Calibration(catalogue, statistics)
        self._booster = Booster(catalogue)
        self._patterns = side_patterns(catalogue.present)
        # Scores of products with the same sides differ from the ranker's by a constant and a factor for each query, so
        # the ranker's order holds among them. Each pattern is therefore searched for by itself.
        self._patterns_searched: list[int] = np.unique(self._patterns).tolist() or [_COMPLETE]
        self._pattern_masks: list[Mask | None] = (
            [None]
            if len(self._patterns_searched) < 2
            else [self._patterns == pattern for pattern in self._patterns_searched]
        )
        self._groupings: dict[str, Grouping] = {}

    def search(self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector]) -> list[Hits]:
        """Find the best products of each query; queries that share a mask share the matrix products."""
        alone = [i for i, query in enumerate(queries) if query.group_by is None]
        pools = dict(zip(alone, self._search([queries[i] for i in alone], [vectors[i] for i in alone]), strict=True))
        for i, query in enumerate(queries):
            if query.group_by is not None:
                pools[i] = self._search_groups(query, vectors[i])
        return [self._choose(query, pools[i]) for i, query in enumerate(queries)]

    def groups(self, query: ResolvedQuery, vector: QueryVector, hits: Hits) -> list[HitGroup]:
        """The group of each of a query's hits: its value, its size, and the best of its other members."""
        if query.group_by is None:
            return []
        grouping = self._grouping(query.group_by)
        allowed = self._without(query.mask, query.excluded)
        groups = []
        for row in hits.rows.tolist():
            members = grouping.members(row)
            members = members[allowed[members]]
            others = hits.take(slice(0), hits.penalties[:0])
            if query.group_members and len(members) > 1:
                mask = np.zeros(len(self._catalogue), np.bool_)
                mask[members[members != row]] = True
                [others] = self._search([replace(query, mask=mask, k=query.group_members, diversity=0.0)], [vector])
            groups.append(HitGroup(grouping.value(row), len(members), others))
        return groups

    def _search(self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector]) -> list[Hits]:
        """For each query the pool of its best products, best first, whatever their groups are."""
        if not queries:
            return []
        levels = self._calibration.levels(vectors)
        candidates = self._candidates(queries, vectors, levels.side_factors)
        counts = [len(rows) for rows in candidates]
        lines, rows = np.arange(len(queries)).repeat(counts), np.concatenate(candidates)
        side_factors = levels.side_factors[lines, self._patterns[rows]]
        fits = side_factors * np.concatenate(list(map(self._plain_fits, vectors, candidates)))
        added = [self._booster.values(query.additions, found) for query, found in zip(queries, candidates, strict=True)]
        is_words = [[isinstance(each, WordMatch) for each in query.additions] for query in queries]
        fits += np.concatenate([values[which].sum(axis=0) for values, which in zip(added, is_words, strict=True)])
        answerable = np.array([query.answerable for query in queries])
        relevance = levels.relevance(lines, fits, answerable[lines])
        if self._catalogue.relevance_curve is not None:
            relevance = self._catalogue.relevance_curve(relevance)
        others = [[not is_word for is_word in which] for which in is_words]
        fits += np.concatenate([values[which].sum(axis=0) for values, which in zip(added, others, strict=True)])
        order, none = np.lexsort((rows, -fits, lines)), np.zeros(len(rows))
        ordered = Hits(rows, fits, none, side_factors, relevance).take(order, none)
        pools = []
        for query, count, stop in zip(queries, counts, accumulate(counts), strict=True):
            start = stop - count
            pool = slice(start, start + min(count, _pool_size(query)))
            pools.append(ordered.take(pool, none[pool]))
        return pools

    def _search_groups(self, query: ResolvedQuery, vector: QueryVector) -> Hits:
        """The pool of a query's best products, each the best of its group.

        The best products of all are also the best of their groups. Where they have too few groups, these groups are
        masked, and what is left is searched again. Each search has more candidates than the one before.
        """
        grouping = self._grouping(query.group_by or "")
        missing, mask, count = _pool_size(query), query.mask, max(_GROUPED_AT_LEAST, _GROUPED_TIMES_K * query.k)
        found: list[Hits] = []
        while True:
            [pool] = self._search([replace(query, mask=mask, k=count, diversity=0.0)], [vector])
            firsts = grouping.firsts(pool.rows)[:missing]
            found.append(pool.take(firsts, pool.penalties[firsts]))
            missing -= len(firsts)
            if not missing or len(pool.rows) < count:
                return Hits.joined(found)
            mask = grouping.without(mask, pool.rows)
            count = min(4 * count, _GROUPED_AT_MOST)

    def _choose(self, query: ResolvedQuery, pool: Hits) -> Hits:
        """The hits of a pool: those of the least relevance, then those that diversity chooses."""
        if query.min_relevance:
            pool = pool.of_relevance(query.min_relevance)
        return self._diversify(query, pool)

    def additions(self, query: ResolvedQuery, hits: Hits) -> list[tuple[str, DoubleArray]]:
        """Names and values (k,) of what a query adds to the scores of its hits by columns."""
        values = self._booster.values(query.additions, hits.rows)
        return [(addition.name, line) for addition, line in zip(query.additions, values, strict=True)]

    def _grouping(self, name: str) -> Grouping:
        if name not in self._groupings:
            self._groupings[name] = Grouping(self._catalogue.columns.column(name))
        return self._groupings[name]

    def _candidates(
        self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector], side_factors: DoubleArray
    ) -> list[Rows]:
        """For each query its best rows of every pattern of sides; (Q, 4) factors by pattern."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, query in enumerate(queries):
            masked_alone = i if len(query.excluded) > _MASK_EXCLUDED_FROM else None
            # What is added counts in the unit of a product's scores, which the factors of a query change.
            added_alone = i if query.additions and self._patterns_searched != [_COMPLETE] else None
            groups.setdefault((id(query.mask), masked_alone, added_alone, query.additions), []).append(i)
        rows_of: list[list[int]] = [[] for _ in queries]
        for (_, masked_alone, _, additions), members in groups.items():
            mask = queries[members[0]].mask
            spare = max(len(queries[i].excluded) for i in members)
            if masked_alone is not None:
                mask, spare = self._without(mask, queries[masked_alone].excluded), 0
            rows = np.array([vectors[i].row.reshape(-1) for i in members], np.float32)
            count = spare + max(_pool_size(queries[i]) for i in members)
            offsets = self._booster.offsets(additions)
            for pattern, pattern_mask in zip(self._patterns_searched, self._pattern_masks, strict=True):
                scale = float(side_factors[members[0], pattern])
                _, best = self._top(rows, count, _both(mask, pattern_mask), offsets, scale)
                for i, candidates in zip(members, best.tolist(), strict=True):
                    allowed = filterfalse(queries[i].excluded.__contains__, candidates)
                    rows_of[i] += islice(allowed, _pool_size(queries[i]))
        return [np.array(rows, np.int64) for rows in rows_of]

    def _top(
        self, rows: FloatArray, count: int, mask: Mask | None, offsets: FloatArray | None, scale: float
    ) -> tuple[FloatArray, Rows]:
        """The best products of queries (Q, 2D) by `scale` times the inner product, plus an offset (N,)."""
        if offsets is not None and scale > 0:
            offsets = offsets if scale == 1 else offsets / np.float32(scale)
        elif offsets is not None:
            rows = np.zeros_like(rows)
        return self._ranker.top_k(rows, count, mask, offsets)

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
