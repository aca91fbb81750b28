"""From fused queries to chosen products: candidates of a store, exact scores, diversity, relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from clipshelf.calls import calls
from clipshelf.catalogue.statistics import Statistics
from clipshelf.recommend.boosts import Addition, WordMatch, addition_values
from clipshelf.recommend.calibration import Calibration
from clipshelf.recommend.diversity import Likeness, choose
from clipshelf.recommend.fusion import QueryVector, centred
from clipshelf.recommend.groups import first_of_groups
from clipshelf.recommend.hits import HitGroup, Hits
from clipshelf.recommend.resolve import ResolvedQuery
from clipshelf.recommend.store import Candidates, ProductStore, Search
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray, Rows

# Candidates among which diversity chooses: at least so many, and at least so many times k.
_POOL_AT_LEAST, _POOL_TIMES_K = 200, 20
# Candidates among which groups are looked for: at first at least so many and so many times k, later up to so many.
_GROUPED_AT_LEAST, _GROUPED_TIMES_K, _GROUPED_AT_MOST = 64, 4, 1 << 14
# Candidates among which products of the least relevance are looked for, at first.
_RELEVANT_AT_LEAST, _RELEVANT_TIMES_K = 64, 4


class Searcher:
    """Searches one store for fused queries, by the statistics of its embeddings."""

    def __init__(self, store: ProductStore, statistics: Statistics) -> None:
        self._store = store
        self._statistics = statistics
        self._calibration = Calibration(store.sample(), statistics)

    def search(self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector]) -> list[Hits]:
        """Find the best products of each query; queries that share a filter are searched for together."""
        alone = [i for i, query in enumerate(queries) if query.group_by is None and not _hides_relevance(query)]
        pools = dict(zip(alone, self._search([queries[i] for i in alone], [vectors[i] for i in alone]), strict=True))
        for i, query in enumerate(queries):
            if query.group_by is not None:
                pools[i] = self._search_groups(query, vectors[i], query.group_by)
            elif i not in pools:
                pools[i] = self._search_one(query, vectors[i])
        return [self._choose(query, pools[i]) for i, query in enumerate(queries)]

    def groups(self, query: ResolvedQuery, vector: QueryVector, hits: Hits) -> list[HitGroup]:
        """The group of each of a query's hits: its value, its size, and the best of its other members."""
        if query.group_by is None:
            return []
        groups = []
        values = self._store.group_values(query.group_by, hits.rows)
        for row, value in zip(hits.rows.tolist(), values, strict=True):
            others = hits.take(slice(0), hits.penalties[:0])
            selection = self._store.others(query.selection, query.excluded, query.group_by, row)
            if query.group_members and selection.count:
                members = replace(query, selection=selection, excluded=set(), k=query.group_members, diversity=0.0)
                [others] = self._search([members], [vector])
            others = replace(others, missing=others.missing | selection.missing)
            groups.append(HitGroup(value, selection.count + 1, others))
        return groups

    def _search_one(self, query: ResolvedQuery, vector: QueryVector) -> Hits:
        """The pool of a query's best products, of its least relevance where boosts hide it.

        Relevance leaves boosts out, so that the products of the highest scores may be irrelevant. Two lists grow in
        turn. Where enough of the highest scores are relevant, these are the best. Where the list of the most relevant
        products ends below the least relevance, it has all that may be answered.
        """
        if not _hides_relevance(query):
            return self._search([query], [vector])[0]
        size, least = _pool_size(query), query.min_relevance
        count = max(_RELEVANT_AT_LEAST, _RELEVANT_TIMES_K * size)
        while True:
            grown = replace(query, k=count, diversity=0.0)
            [best] = self._search([grown], [vector])
            relevant = best.of_relevance(least)
            if len(relevant.rows) >= size or len(best.rows) < count:
                break
            [fitting] = self._search([grown], [vector], by_relevance=True)
            relevant = fitting.of_relevance(least)
            if len(relevant.rows) < count:
                break
            count *= 4
        order = _best_first(relevant.rows, relevant.fits)[:size]
        return relevant.take(order, relevant.penalties[order])

    def _search(
        self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector], *, by_relevance: bool = False
    ) -> list[Hits]:
        """For each query the pool of its best products, best first, whatever their groups are.

        - `by_relevance`: whether the best are those of the highest relevance, instead of the highest score.
        """
        if not queries:
            return []
        levels = self._calibration.levels(vectors)
        ranked = [_without_boosts(query) for query in queries] if by_relevance else queries
        candidates = self._candidates(ranked, vectors, levels.side_factors)
        counts = [len(found.rows) for found in candidates]
        lines, rows = np.arange(len(queries)).repeat(counts), np.concatenate([found.rows for found in candidates])
        side_factors = levels.side_factors[lines, np.concatenate([found.patterns for found in candidates])]
        fits = side_factors * np.concatenate(
            [self._plain_fits(*pair) for pair in zip(vectors, candidates, strict=True)]
        )
        added = [addition_values(q.additions, found.numbers) for q, found in zip(queries, candidates, strict=True)]
        is_words = [[isinstance(each, WordMatch) for each in query.additions] for query in queries]
        fits += np.concatenate([values[which].sum(axis=0) for values, which in zip(added, is_words, strict=True)])
        answerable = np.array([query.answerable for query in queries])
        relevance = levels.relevance(lines, fits, answerable[lines])
        if self._store.relevance_curve is not None:
            relevance = self._store.relevance_curve(relevance)
        ranks = fits.copy() if by_relevance else fits
        others = [[not is_word for is_word in which] for which in is_words]
        fits += np.concatenate([values[which].sum(axis=0) for values, which in zip(added, others, strict=True)])
        pools = []
        for i, stop in enumerate(accumulate(counts)):
            part = slice(stop - counts[i], stop)
            none = np.zeros(counts[i])
            found = Hits(rows[part], fits[part], none, side_factors[part], relevance[part], added[i])
            order = _best_first(found.rows, ranks[part])[: _pool_size(queries[i])]
            missing = candidates[i].missing | queries[i].selection.missing
            pools.append(replace(found.take(order, none[order]), missing=missing))
        return pools

    def _search_groups(self, query: ResolvedQuery, vector: QueryVector, column: str) -> Hits:
        """The pool of a query's best products, each the best of its group.

        The best products of all are also the best of their groups. Where they have too few groups, these groups are
        left out, and what remains is searched again. Each search has more candidates than the one before.
        """
        wanted, count = _pool_size(query), max(_GROUPED_AT_LEAST, _GROUPED_TIMES_K * query.k)
        selection, found = query.selection, list[Hits]()
        while True:
            pool = self._search_one(replace(query, selection=selection, k=count, diversity=0.0), vector)
            firsts = first_of_groups(self._store.group_values(column, pool.rows))[:wanted]
            found.append(pool.take(firsts, pool.penalties[firsts]))
            wanted -= len(firsts)
            if not wanted or len(pool.rows) < count:
                return Hits.joined(found)
            selection = self._store.without_groups(selection, column, pool.rows)
            count = min(4 * count, _GROUPED_AT_MOST)

    def _choose(self, query: ResolvedQuery, pool: Hits) -> Hits:
        """The hits of a pool: those of the least relevance, then those that diversity chooses."""
        if query.min_relevance:
            pool = pool.of_relevance(query.min_relevance)
        return self._diversify(query, pool)

    def _candidates(
        self, queries: Sequence[ResolvedQuery], vectors: Sequence[QueryVector], side_factors: DoubleArray
    ) -> list[Candidates]:
        """For each query its best products of every pattern of sides; (Q, 4) factors by pattern."""
        rows = np.array([vector.row.reshape(-1) for vector in vectors], np.float32)
        return self._store.search(
            [
                Search(row, query.selection, query.excluded, query.additions, _pool_size(query), factors)
                for row, query, factors in zip(rows, queries, side_factors, strict=True)
            ]
        )

    def _plain_fits(self, vector: QueryVector, candidates: Candidates) -> DoubleArray:
        """Scores (n,) of n candidates before their side factors.

        They equal the product of the centred products and the vector, without centring each product.
        """
        products = self._store.fetch(candidates.rows)
        with calls:
            fits: DoubleArray = products.embeddings @ vector.row.reshape(-1)
        fits -= products.present @ (self._statistics.means * vector.row).sum(axis=1)
        return fits

    def _diversify(self, query: ResolvedQuery, pool: Hits) -> Hits:
        """The hits that diversity chooses from the pool; all of it without diversity."""
        if not query.diversity:
            return pool
        likeness = self._likeness(pool.rows, query.weights)
        return pool.take(*choose(pool.fits, likeness, query.k, query.diversity))

    def _likeness(self, rows: Rows, weights: Weights) -> Likeness:
        """Likeness among products: the scores (n,) of n rows when one of them is liked."""
        products = self._store.fetch(rows)
        present, sides = products.present, centred(products, self._statistics)
        cosines, scaled = weights.cosines, weights.cosines / self._statistics.spreads
        # A stack of single dot products, for which OpenBLAS wakes no threads.
        stack = sides.reshape(len(rows), 1, 2 * self._store.dim)

        def likeness_to(position: int) -> DoubleArray:
            scores: DoubleArray = np.matmul(stack, (scaled.T @ sides[position]).reshape(-1, 1))[:, 0, 0]
            mass = present @ (present[position] @ cosines)  # weights of the cosines that exist between both
            likeness: DoubleArray = np.divide(scores, mass, out=np.zeros(len(rows)), where=mass > 0)
            return likeness

        return likeness_to


def _pool_size(query: ResolvedQuery) -> int:
    """Number of candidates that are scored exactly for a query."""
    return max(_POOL_AT_LEAST, _POOL_TIMES_K * query.k) if query.diversity else query.k


def _hides_relevance(query: ResolvedQuery) -> bool:
    """Whether the order of a query's scores is not that of the relevance that it asks for."""
    return query.min_relevance > 0 and any(isinstance(addition, Addition) for addition in query.additions)


def _without_boosts(query: ResolvedQuery) -> ResolvedQuery:
    """A query whose boosts and freshness change no score; what they are computed from is still read."""
    additions = tuple(each._replace(weight=0.0) if isinstance(each, Addition) else each for each in query.additions)
    return replace(query, additions=additions)


def _best_first(rows: Rows, scores: DoubleArray) -> Rows:
    """(n,) positions of n products by score, the best first; of equal ones the first row first."""
    return np.lexsort((rows, -scores))
