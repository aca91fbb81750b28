"""Queries that were checked against a catalogue: what is to be embedded, and which products count how much."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import InputError
from clipshelf.recommend.profile import Profile, several
from clipshelf.recommend.query import Query, Weights
from clipshelf.recommend.signals import product_signals
from clipshelf.types import ImageSource, Mask, Rows

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Asked:
    """A query that was checked: what is to be embedded, and the weights of products by (kind, id), with their rows.

    Products of `mask` (N,), if any, may answer it, but for the rows `left_out`.
    """

    query: Query
    weights: Weights
    texts: list[str]
    images: list[ImageSource]
    products: dict[tuple[str, str], float]
    rows: Rows
    mask: Mask | None
    left_out: set[int]


def check_all(
    queries: Iterable[Query | Profile | Mapping[str, Any]],
    k: int,
    catalogue: Catalogue,
    weights: Weights,
    half_life: float,
) -> Iterator[Asked | InputError]:
    """Check queries one by one, but look up all their ids at once; `half_life` is in seconds.

    `k` and `weights` are for those that don't say theirs.
    """
    read = [try_(partial(Query.of, query, k)) for query in several("queries", queries)]
    names = list({id_ for query in read if isinstance(query, Query) for id_ in query.named})
    row_of = dict(zip(names, catalogue.find(names).tolist(), strict=True))
    masks: dict[str | int, Mask] = {}

    def check(query: Query) -> Asked:
        own = Weights.of(query.weights, weights)
        _require(query, row_of, catalogue)
        products = product_signals(query.taste, own, query.seen_from, half_life)
        key = _key(query.where)
        if query.where is not None and key not in masks:
            masks[key] = catalogue.mask(query.where)
        return Asked(
            query,
            own,
            query.texts if own.text and (own.text_image or own.text_text) else [],
            query.images if own.image and (own.image_image or own.image_text) else [],
            products,
            np.array([row_of[id_] for _, id_ in products], np.int64),
            masks.get(key),
            {row_of[id_] for id_ in query.left_out},
        )

    for query in read:
        yield try_(partial(check, query)) if isinstance(query, Query) else query


def _key(where: Any) -> str | int:
    """The same for filters that are the same: their JSON or, where they have none, which object they are."""
    try:
        return json.dumps(where)
    except (TypeError, ValueError, RecursionError):
        return id(where)


def _require(query: Query, row_of: Mapping[str, int], catalogue: Catalogue) -> None:
    """Raise InputError on a query without any signal, and UnknownIdError on products that the catalogue lacks."""
    if not (query.texts or query.images or query.taste.ids):
        raise InputError("query: expected a text, an image, likes, dislikes or a history, found none of them")
    if min(map(row_of.__getitem__, query.named), default=0) < 0:
        catalogue.rows(sorted(query.named))  # raises, naming those that aren't there


def try_(call: Callable[[], _Result]) -> _Result | InputError:
    """What a call gives, or the InputError that it raises."""
    try:
        return call()
    except InputError as error:
        return error
