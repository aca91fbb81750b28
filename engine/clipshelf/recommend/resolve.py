"""Queries checked against a catalogue: ids become rows, filters masks, and events weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import InputError
from clipshelf.failures import attempt
from clipshelf.recommend.arguments import check_iterable
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Query
from clipshelf.recommend.signals import product_weights
from clipshelf.recommend.weights import Weights
from clipshelf.types import ImageSource, Mask, Rows


@dataclass(frozen=True)
class ResolvedQuery:
    """A query in terms of one catalogue of N products.

    - `weights`: its own weights, and the recommender's for the others.
    - `texts`, `images`: what is to be embedded; none where their weight is 0.
    - `products`: weights of products by (kind of signal, id); their `rows` (p,) in the same order.
    - `k`: number of products to answer with, at most N.
    - `mask`: (N,), true for the products that may be answered; None for all.
    - `excluded`: rows that are not answered, whatever the mask says.
    - `diversity`: 0 to 1.
    """

    weights: Weights
    texts: tuple[str, ...]
    images: tuple[ImageSource, ...]
    products: dict[tuple[str, str], float]
    rows: Rows
    k: int
    mask: Mask | None
    excluded: set[int]
    diversity: float


def resolve(
    queries: Iterable[Query | Profile | Mapping[str, Any]],
    catalogue: Catalogue,
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
    row_of = dict(zip(ids, catalogue.find(ids).tolist(), strict=True))
    resolver = _Resolver(catalogue, row_of, weights, half_life, now)
    return [attempt(partial(resolver.resolve, query)) if isinstance(query, Query) else query for query in checked]


@dataclass
class _Resolver:
    """Resolves the queries of one call; queries that share a filter share its mask."""

    catalogue: Catalogue
    row_of: Mapping[str, int]
    weights: Weights
    half_life: float
    now: float
    masks: dict[str | int, Mask] = field(default_factory=dict)

    def resolve(self, query: Query) -> ResolvedQuery:
        """Raise InputError on a query without signal, UnknownIdError on ids that the catalogue does not have."""
        if not (query.texts or query.images or query.taste.ids):
            raise InputError("query: expected a text, an image, likes, dislikes or a history, found none of them")
        if min(map(self.row_of.__getitem__, query.named_ids), default=0) < 0:
            self.catalogue.rows(sorted(query.named_ids))  # raises an error that names the unknown ids
        weights = Weights.of(query.weights, self.weights)
        now = self.now if query.now is None else float(query.now)  # type: ignore[arg-type]
        products = product_weights(query.taste, weights, now, self.half_life)
        return ResolvedQuery(
            weights=weights,
            texts=query.texts if weights.reads_texts else (),
            images=query.images if weights.reads_images else (),
            products=products,
            rows=np.array([self.row_of[id_] for _, id_ in products], np.int64),
            k=min(query.k, len(self.catalogue) or 1),
            mask=self._mask(query.where),
            excluded={self.row_of[id_] for id_ in query.excluded_ids},
            diversity=query.diversity,
        )

    def _mask(self, where: Any) -> Mask | None:
        if where is None:
            return None
        key = _filter_key(where)
        if key not in self.masks:
            self.masks[key] = self.catalogue.mask(where)
        return self.masks[key]


def _filter_key(where: Any) -> str | int:
    """Equal for equal filters: their JSON or, where they have none, their identity."""
    try:
        return json.dumps(where)
    except (TypeError, ValueError, RecursionError):
        return id(where)
