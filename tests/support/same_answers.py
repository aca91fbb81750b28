"""Catalogues and queries of every kind, and what answers must say alike, wherever the products are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf import Catalogue, Engine, Recommendations
from clipshelf.catalogue.content_keys import id_keys
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import FALLOFF, SideParts, pool_side
from clipshelf.errors import InputError
from clipshelf.recommend.recommender import StoreRecommender
from clipshelf.types import FloatArray, Product
from support.shelves import clustered

DIM = 16
WORDS = ["red", "green", "blue", "shoe", "shirt", "watch", "warm", "dm-42", "dm-43", "xy 7"]


def records(count: int, seed: int) -> list[Product]:
    """Products with columns of every kind, with gaps and ties, and nested ones."""
    rng = np.random.default_rng(seed)
    made: list[Product] = []
    for row in range(count):
        product: Product = {"id": f"p{row}", "text": " ".join(rng.choice(WORDS, 3)), "price": int(rng.integers(1, 40))}
        if row % 3:
            product["family"] = f"f{rng.integers(0, count // 3 + 1)}"
        if row % 4:
            product["added"] = str(np.datetime64("2026-01-01") + int(rng.integers(0, 300)))
        if row % 5 == 0:
            product["tags"] = ["a", "b"][: 1 + row % 2]
        product["sold"] = bool(rng.integers(0, 2))
        product["size"] = {"eu": int(rng.integers(36, 46))} if row % 2 else {"us": "ML"[row % 8 == 0]}
        if row % 7:
            product["stock"] = {
                "shop": {"berlin": row % 11 / 2},
                "since": f"2026-0{1 + row % 9}-01",
                "sold": row % 3 == 0,
            }
        made.append(product)
    return made


def one_sided(matrix: FloatArray, seed: int, share: float) -> FloatArray:
    """A matrix in which some products lack a side."""
    rng = np.random.default_rng(seed)
    lacks = rng.random(len(matrix)) < share
    side = rng.integers(0, 2, len(matrix))
    matrix[lacks & (side == 0), :DIM] = 0
    matrix[lacks & (side == 1), DIM:] = 0
    return matrix


def union(
    engine: Engine,
    count: int,
    seed: int,
    *,
    share: float = 0.3,
    duplicates: int = 3,
    words: Sequence[str] = ("text", "family"),
    several: float = 0.0,
    curve: RelevanceCurve | None = None,
    products: list[Product] | None = None,
) -> Catalogue:
    """A catalogue with duplicates and one-sided products.

    - `share`: of the products that lack a side; `duplicates`: their number.
    - `words`: the fields whose words are indexed.
    - `several`: the share of the sides with several pictures or texts.
    - `curve`: fitted to the shop's own queries.
    - `products`: `count` records, instead of those of `records`.
    """
    matrix = one_sided(clustered(max(count, 1), DIM, seed=seed)[:count], seed, share)
    for row in range(count - duplicates, count):
        if row > 0:
            matrix[row] = matrix[row % max(1, count // 2)]
    products = records(count, seed) if products is None else products
    keys = np.zeros((count, 3, 16), np.uint8)
    keys[:, 0] = id_keys(product["id"] for product in products)
    parts = with_parts(matrix, seed, several)
    contents = MemoryContents(products, matrix, keys, {}, words, parts)
    return Catalogue(contents, engine.fingerprint, Path("/nowhere"), None).with_relevance_curve(curve)


def with_parts(matrix: FloatArray, seed: int, share: float) -> SideParts:
    """Make sides of two to four parts of some sides of a matrix."""
    rng = np.random.default_rng(seed)
    sides = {}
    for row, side in np.argwhere(rng.random((len(matrix), 2)) < share).tolist():
        columns = slice(side * DIM, (side + 1) * DIM)
        if matrix[row, columns].any():
            embeds = matrix[row, columns] + 0.5 * rng.standard_normal((int(rng.integers(2, 5)), DIM))
            embeds = (embeds / np.linalg.norm(embeds, axis=1, keepdims=True)).astype(np.float32)
            sides[row, side] = pool_side(embeds, rng.integers(0, 256, (len(embeds), 16), np.uint8), FALLOFF)
            matrix[row, columns] = sides[row, side].row
    return SideParts.of(FALLOFF, sides)


def facts(answer: Recommendations) -> Any:
    """All that an answer says, without the times."""
    data = answer.to_dict(explain=True)
    data.pop("took_ms")
    return data


QUERIES: list[dict[str, Any]] = [
    {"text": "red shoe"},
    {"text": ["warm shirt", "blue dm-42"], "k": 30},
    {"liked": ["p1", "p5"], "disliked": ["p2"], "k": 7},
    {"text": "red", "where": "price<20"},
    {"text": "red", "where": "sold=true and tags contains a"},
    {"text": "red", "where": "size.eu>40 or size.us=M"},
    {"text": "green", "where": {"id": "p3"}},
    {"liked": ["p3"], "where": "price<=it.price"},
    {"text": "shoe", "diversity": 0.4, "k": 5},
    {"text": "watch", "boost": {"price": -0.7, "sold": 0.2}, "fresh": {"added": "30d"}, "now": "2026-06-01", "k": 12},
    {"text": "red", "group_by": "family", "group_members": 2, "k": 6},
    {"text": "red", "group_by": "family", "where": "price>10", "boost": {"price": 0.5}, "exclude": ["p4"], "k": 50},
    {"text": "red", "min_relevance": 0.5},
    {"text": "dm 42", "exclude": ["p1", "p2", "p3"], "k": 4},
    {"text": "red", "where": "price>1000"},
    {"text": "red", "liked": ["nothing"], "unknown": "ignore"},
]


# What queries need of fields of records, whose kinds and quantiles no catalogue stores.
FIELD_QUERIES: list[dict[str, Any]] = [
    {"text": "red", "boost": {"size.eu": 0.4}},
    {"text": "red", "boost": {"stock.shop.berlin": -0.5, "stock.sold": 0.3, "price": 0.2}, "k": 40},
    {"text": "shoe", "fresh": {"stock.since": "30d"}, "now": "2026-06-01", "boost": {"size.eu": 0.1}},
    {"liked": ["p1", "p5"], "boost": {"stock.shop.berlin": 0.7}, "min_relevance": 0.4, "k": 20},
    {"text": "green", "group_by": "size.eu", "group_members": 2, "k": 4},
    {"text": "green", "group_by": "stock.since", "boost": {"size.eu": 0.3}, "diversity": 0.3, "k": 50},
    {"text": "warm", "group_by": "stock.sold", "where": "size.us=M", "group_members": 3, "exclude": ["p4"]},
    {"liked": ["p3"], "where": "size.eu<=it.size.eu", "boost": {"size.eu": -0.2}},
    {"text": "red", "boost": {"size.uk": 1}},
    {"text": "red", "boost": {"size.us": 1}},
    {"text": "red", "boost": {"stock.shop": 1}},
    {"text": "red", "fresh": {"stock.sold": "3d"}},
    {"text": "red", "group_by": "price.eu"},
]


def assert_same(one: StoreRecommender, other: StoreRecommender, queries: Sequence[dict[str, Any]]) -> None:
    failures: list[tuple[Any, Any]] = []
    for query in queries:
        outcomes: list[Any] = []
        for recommender in (one, other):
            try:
                outcomes.append(facts(recommender.recommend(**query)))
            except InputError as error:
                outcomes.append(str(error))
        if outcomes[0] != outcomes[1]:
            failures.append((query, outcomes))
    assert not failures, failures[0]
