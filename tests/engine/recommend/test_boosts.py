"""Boosts and freshness against scores that are worked out in float64 from the formulas of docs/shop.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf import Engine, Query, Recommender
from clipshelf.errors import InputError
from clipshelf.types import DoubleArray, Product
from support import oracle
from support.sample_query import DAY, DIM, NOW
from support.shelves import clustered, shelf_with

COUNT = 900


def records() -> list[Product]:
    """Columns with ties, gaps and a tail."""
    rng = np.random.default_rng(5)
    made: list[Product] = []
    for row in range(COUNT):
        product: Product = {"popularity": int(rng.geometric(0.1)), "sold": bool(row % 3), "name": f"n{row % 7}"}
        if row % 4:
            product["margin"] = float(rng.lognormal())
        if row % 5:
            day = np.datetime64(int(NOW - rng.integers(-50, 400) * DAY), "s")
            product["added"] = str(day.astype("datetime64[D]") if row % 2 else day)
        made.append(product)
    return made


@pytest.fixture(scope="module")
def shop(wide_engine: Engine) -> Recommender:
    return Recommender(wide_engine, shelf_with(wide_engine, clustered(COUNT, DIM), records()))


def quantile_boost(values: list[Any]) -> DoubleArray:
    """2 q - 1 for each value by counting, 0 for None."""
    known = [value for value in values if value is not None]
    boosts = [
        0.0
        if value is None
        else 2 * (sum(other < value for other in known) + sum(other == value for other in known) / 2) / len(known) - 1
        for value in values
    ]
    return np.array(boosts)


def freshness(values: list[str | None], days: float) -> DoubleArray:
    ages = [None if v is None else max(0.0, NOW - np.datetime64(v, "s").astype(np.int64)) for v in values]
    return np.array([0.0 if age is None else 0.5 ** (age / (days * DAY)) for age in ages])


def expected_scores(shop: Recommender, boost: dict[str, float], fresh: dict[str, float], weight: float) -> DoubleArray:
    scores = oracle.cosine_scores(shop, ["red shoe"], {"3": 1.0})
    for name, factor in boost.items():
        scores = scores + factor * quantile_boost([product.get(name) for product in shop.catalogue.products])
    for name, days in fresh.items():
        scores = scores + weight * freshness([product.get(name) for product in shop.catalogue.products], days)
    return scores


@pytest.mark.parametrize(
    ("boost", "fresh", "weight"),
    [
        ({"popularity": 0.2, "margin": 0.1}, {}, 0.5),
        ({"popularity": -3.0}, {}, 0.5),
        ({"sold": 5.0}, {"added": 30.0}, 0.5),
        ({}, {"added": 0.5}, 2.0),
        ({"margin": 1e6}, {}, 0.5),
        ({"margin": 0.0}, {"added": 30.0}, 0.0),
    ],
)
@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_the_best_are_those_of_a_full_search(
    shop: Recommender, boost: dict[str, float], fresh: dict[str, float], weight: float, diversity: float
) -> None:
    answer = shop.recommend(
        "red shoe", liked=["3"], k=25, boost=boost, fresh=fresh, weights={"fresh": weight}, now=NOW, diversity=diversity
    )
    scores = expected_scores(shop, boost, fresh, weight)
    scores[3] = -np.inf
    if not diversity:
        order = np.lexsort((np.arange(COUNT), -scores))[:25]
        assert [item.id for item in answer] == [str(row) for row in order]
        assert [item.score for item in answer] == pytest.approx(scores[order].tolist(), rel=1e-6, abs=1e-6)
    for item in answer:
        parts = {part.signal: part.value for part in item.contributions if part.side is None}
        assert sum(part.value for part in item.contributions) == pytest.approx(item.score, rel=1e-9, abs=1e-9)
        assert item.score - parts.get("diversity", 0) == pytest.approx(scores[int(item.id)], rel=1e-6, abs=1e-6)
        expected = {f"boost {name}" for name, factor in boost.items() if factor}
        assert set(parts) - {"diversity"} == expected | {f"fresh {name}" for name in fresh if weight}


def test_boosts_do_not_change_relevance(shop: Recommender) -> None:
    plain = {item.id: item.relevance for item in shop.recommend("red shoe", k=COUNT)}
    boosted = shop.recommend("red shoe", k=20, boost={"popularity": 9.0})
    assert [item.relevance for item in boosted] == pytest.approx([plain[item.id] for item in boosted])


def test_products_that_lack_a_side_are_boosted_alike(wide_engine: Engine) -> None:
    matrix = clustered(COUNT, DIM)
    matrix[::3, :DIM], matrix[1::3, DIM:] = 0, 0
    shop = Recommender(wide_engine, shelf_with(wide_engine, matrix, records()))
    plain = {item.id: item.score for item in shop.recommend("red shoe", k=COUNT)}
    boosts = quantile_boost([product.get("margin") for product in shop.catalogue.products])
    scores = np.array([plain[str(row)] for row in range(COUNT)]) + 1.5 * boosts
    boosted = shop.recommend("red shoe", k=30, boost={"margin": 1.5})
    assert [int(item.id) for item in boosted] == np.argsort(-scores, kind="stable")[:30].tolist()
    assert [item.score for item in boosted] == pytest.approx(np.sort(scores)[::-1][:30].tolist())
    # Nothing but text alone: one pattern of sides, whose factor is not 1.
    matrix[:, :DIM] = 0
    matrix[1::3, DIM:] = clustered(COUNT, DIM)[1::3, DIM:]
    shop = Recommender(wide_engine, shelf_with(wide_engine, matrix, records()))
    plain = {item.id: item.score for item in shop.recommend("red shoe", k=COUNT)}
    scores = np.array([plain[str(row)] for row in range(COUNT)]) + 1.5 * boosts
    queries = [{"text": text, "boost": {"margin": 1.5}, "k": 30} for text in ("red shoe", "warm", "blue watch")]
    boosted = shop.recommend_batch(queries)[0]
    assert [int(item.id) for item in boosted] == np.argsort(-scores, kind="stable")[:30].tolist()


def test_a_batch_of_different_boosts_is_each_for_itself(shop: Recommender) -> None:
    queries = [
        {"text": "red shoe", "k": 9},
        {"text": "red shoe", "k": 9, "boost": {"popularity": 1}},
        {"text": "warm", "k": 5, "boost": {"popularity": 1}, "where": "popularity<9"},
        {"text": "red shoe", "k": 9, "fresh": {"added": "30d"}, "now": NOW},
    ]
    together = shop.recommend_batch(queries)
    alone = [shop.answer(Query.from_dict(query)) for query in queries]
    for one, other in zip(together, alone, strict=True):
        assert [item.id for item in one] == [item.id for item in other]
        assert [item.score for item in one] == pytest.approx([item.score for item in other])


@pytest.mark.parametrize(
    ("half_life", "days"), [("30d", 30), ("30", 30), (30, 30), ("12h", 0.5), ("2 w", 14), ("1.5Y", 547.875)]
)
def test_half_lives_have_units(half_life: Any, days: float) -> None:
    assert Query("red", fresh={"added": half_life}).fresh == {"added": days}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"boost": {"price": 1}},
            r"boost: expected a column of kind number or bool among margin, popularity, sold, found 'price'",
        ),
        ({"boost": {"name": 1}}, r"boost: expected .*, found text column 'name'"),
        ({"boost": {"margin": "1"}}, r"boost: 'margin': expected 0 or a weight from 1e-09 to 1e\+09, .*'1'"),
        ({"boost": {"margin": float("nan")}}, "boost: 'margin': expected 0 or a weight"),
        ({"boost": ["margin"]}, "boost: expected an object with names of columns, found list"),
        ({"boost": {str(i): 1 for i in range(101)}}, "boost: expected at most 100 columns, found 101"),
        ({"fresh": {"margin": 3}}, "fresh: expected a column of kind date among added, found number column 'margin'"),
        ({"fresh": {"added": "soon"}}, "fresh: 'added': expected a half-life in days, or such as .*'soon'"),
        ({"fresh": {"added": 0}}, "fresh: 'added': expected a half-life"),
    ],
)
def test_what_cannot_boost_is_named(shop: Recommender, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shop.recommend("red", **arguments)


def test_the_only_value_of_a_column_boosts_nothing(wide_engine: Engine) -> None:
    rows: list[Product] = [{"price": 3} if row == 5 else {} for row in range(20)]
    shop = Recommender(wide_engine, shelf_with(wide_engine, clustered(20, DIM), rows))
    plain, boosted = (shop.recommend("red", boost=boost, k=20) for boost in ({}, {"price": 1.0}))
    assert [item.score for item in boosted] == pytest.approx([item.score for item in plain])
