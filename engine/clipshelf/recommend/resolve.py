"""Queries checked against a catalogue: ids become rows, filters masks, and events weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.filtering.relative import has_reference, replace_references
from clipshelf.catalogue.messages import shorten_list
from clipshelf.display import describe
from clipshelf.errors import InputError, UnknownIdError
from clipshelf.failures import attempt
from clipshelf.recommend.arguments import check_iterable
from clipshelf.recommend.boosts import BOOST_KINDS, FRESH_KINDS, Added, Addition, WordMatch, check_column
from clipshelf.recommend.groups import GROUP_KINDS
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Query
from clipshelf.recommend.signals import product_weights
from clipshelf.recommend.store import ProductStore, Selection
from clipshelf.recommend.weights import Weights
from clipshelf.types import ImageSource, Rows

_DAY = 86_400.0  # seconds
# Products of an answer. Diversity compares every product that it chooses with twenty times as many.
MAX_K, _MAX_K_WITH_DIVERSITY = 100_000, 2_000
# Contributions of an answer, one for each signal and product, of 32 bytes each.
_MAX_CONTRIBUTIONS = 1 << 24


@dataclass(frozen=True)
class ResolvedQuery:
    """A query in terms of one store of N products.

    - `weights`: its own weights, and the recommender's for the others.
    - `texts`, `images`: what is to be embedded; none where their weight is 0.
    - `products`: weights of products by (kind of signal, id); their `rows` (p,) in the same order.
    - `k`: number of products to answer with, at most N.
    - `selection`: the products that the filter lets through.
    - `excluded`: rows of these that are not answered.
    - `additions`: what is added to scores by columns and by words.
    - `group_by`, `group_members`: as in the query; the column is one that groups.
    - `answerable`: number of products of the selection that are not excluded.
    - `diversity`, `min_relevance`: 0 to 1.
    - `where`: the filter of the selection.
    - `unknown_ids`: ids that the catalogue does not have and that were ignored, sorted.
    - `probability`: whether probabilities are asked for.
    """

    weights: Weights
    texts: tuple[str, ...]
    images: tuple[ImageSource, ...]
    products: dict[tuple[str, str], float]
    rows: Rows
    k: int
    selection: Selection
    excluded: set[int]
    answerable: int
    diversity: float
    min_relevance: float
    where: Where | str | None
    unknown_ids: tuple[str, ...]
    probability: bool
    additions: tuple[Added, ...]
    group_by: str | None
    group_members: int


def resolve(
    queries: Iterable[Query | Profile | Mapping[str, Any]],
    store: ProductStore,
    *,
    k: int,
    weights: Weights,
    half_life: float,
    now: float,
) -> list[ResolvedQuery | InputError]:
    """Check queries one by one, and look up the ids of all of them at once.

    - `k`, `weights`: for the queries that do not say theirs.
    - `half_life`: in seconds, after which an event counts half.
    - `now`: in seconds since 1970, for queries that do not say theirs.

    Returns for each query what it resolves to, or why it cannot be answered.
    """
    checked = [attempt(partial(Query.of, query, k)) for query in check_iterable("queries", queries)]
    ids = list({id_ for query in checked if isinstance(query, Query) for id_ in query.named_ids})
    row_of = dict(zip(ids, store.find(ids).tolist(), strict=True)) if ids else {}
    resolver = _Resolver(store, row_of, weights, half_life, now)
    return [attempt(partial(resolver.resolve, query)) if isinstance(query, Query) else query for query in checked]


@dataclass
class _Resolver:
    """Resolves the queries of one call; queries that share a filter share its selection."""

    store: ProductStore
    row_of: Mapping[str, int]
    weights: Weights
    half_life: float
    now: float
    selections: dict[str | int | None, Selection] = field(default_factory=dict)

    def resolve(self, query: Query) -> ResolvedQuery:
        """Raise InputError on a query without signal, UnknownIdError on ids that the catalogue does not have."""
        unknown = {id_ for id_ in query.named_ids if self.row_of[id_] < 0}
        taste = self._known_taste(query, unknown)
        weights = Weights.of(query.weights, self.weights)
        now = self.now if query.now is None else float(query.now)  # type: ignore[arg-type]
        products = product_weights(taste, weights, now, self.half_life)
        k = min(query.k, len(self.store) or 1)
        _check_work(k, query, len(query.texts) + len(query.images) + len(products))
        where = self._where(query)
        selection = self._select(where)
        excluded = {self.row_of[id_] for id_ in query.excluded_ids - unknown}
        return ResolvedQuery(
            weights=weights,
            texts=query.texts if weights.reads_texts else (),
            images=query.images if weights.reads_images else (),
            products=products,
            rows=np.array([self.row_of[id_] for _, id_ in products], np.int64),
            k=k,
            selection=selection,
            excluded=excluded,
            answerable=self.store.count(selection, excluded),
            diversity=query.diversity,
            min_relevance=query.min_relevance,
            where=where,
            unknown_ids=tuple(sorted(unknown)),
            additions=self._additions(query, weights, now),
            group_by=self._group_by(query),
            group_members=query.group_members,
            probability=query.probability,
        )

    def _known_taste(self, query: Query, unknown: set[str]) -> Profile:
        """The products that the query names, without the unknown ones, which are an error where they are required."""
        if required := sorted(unknown & query.required_ids):
            raise UnknownIdError(
                f"id: expected ids of the catalogue's {len(self.store)} products, found "
                f'{shorten_list(map(describe, required))}; unknown="ignore" (--unknown ignore) leaves such ids out'
            )
        taste = query.taste.only(lambda id_: id_ not in unknown) if unknown else query.taste
        if query.texts or query.images or taste.ids:
            return taste
        if query.taste.ids:
            found = f"only products that the catalogue does not have: {shorten_list(map(describe, sorted(unknown)))}"
        else:
            found = "none of them"
        raise InputError(f"query: expected a text, an image, likes, dislikes or a history, found {found}")

    def _where(self, query: Query) -> Where | str | None:
        """The filter of a query, with the values of its liked product where it is relative to that."""
        if query.where is None or (isinstance(query.where, str) and "it." not in query.where):
            return query.where
        where = self.store.parsed(query.where)
        if not isinstance(where, Mapping) or not has_reference(where):
            return where
        liked = [str(id_) for id_ in query.liked]
        if len(liked) != 1 or self.row_of[liked[0]] < 0:
            found = f"{len(liked)} of them" if len(liked) != 1 else f"{describe(liked[0])}, which the catalogue lacks"
            expected = "a query with one liked product, which `it` stands for"
            raise InputError(f"where: it.: expected {expected}, found {found}")
        return replace_references(where, partial(self.store.value, self.row_of[liked[0]]))

    def _select(self, where: Any) -> Selection:
        key = None if where is None else _filter_key(where)
        if key not in self.selections:
            self.selections[key] = self.store.select(where)
        return self.selections[key]

    def _additions(self, query: Query, weights: Weights, now: float) -> tuple[Added, ...]:
        boosts, fresh = query.boost or {}, query.fresh or {}
        for argument, columns, kinds in (("boost", boosts, BOOST_KINDS), ("fresh", fresh, FRESH_KINDS)):
            for name in columns:
                check_column(self.store.columns, argument, name, kinds)
        additions: list[Added] = [Addition(name, weight) for name, weight in boosts.items() if weight]
        if weights.fresh:
            additions += [Addition(name, weights.fresh, float(days) * _DAY, now) for name, days in fresh.items()]
        if weights.words and query.texts and (words := self.store.words) is not None:
            additions.append(WordMatch.of(query.texts, weights.words, words))
        return tuple(additions)

    def _group_by(self, query: Query) -> str | None:
        if query.group_by is not None:
            check_column(self.store.columns, "group_by", query.group_by, GROUP_KINDS)
        return query.group_by


def _check_work(k: int, query: Query, signals: int) -> None:
    """Raise InputError where an answer of k products would take more time or memory than a query may."""
    most = _MAX_K_WITH_DIVERSITY if query.diversity else MAX_K
    if signals * most > _MAX_CONTRIBUTIONS:
        most = max(1, _MAX_CONTRIBUTIONS // signals)
    if k > most:
        raise InputError(
            f"k: expected at most {most:,} for {signals:,} signals and diversity {query.diversity:g}, found {k:,}"
        )


def _filter_key(where: Any) -> str | int:
    """Equal for equal filters: their JSON or, where they have none, their identity."""
    try:
        return json.dumps(where)
    except (TypeError, ValueError, RecursionError):
        return id(where)
