"""Queries as they are: like this but cheaper, and a part of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Profile, Query, Recommender
from clipshelf.catalogue.filtering.filter_parser import parse_where
from clipshelf.catalogue.filtering.filter_words import to_words
from clipshelf.catalogue.filtering.relative import has_reference
from clipshelf.errors import InputError
from clipshelf.types import Product
from support import tiny
from support.sample_query import DIM
from support.shelves import clustered, shelf_with

BRANDS = ("it.co", "other", "third")


@pytest.fixture(scope="module")
def shop(wide_engine: Engine) -> Recommender:
    records: list[Product] = [
        {"brand": BRANDS[row % 3], "tags": ["a"], "added": f"2026-01-{row % 28 + 1:02}"}
        | ({} if row == 50 else {"price": row % 40})
        for row in range(120)
    ]
    return Recommender(wide_engine, shelf_with(wide_engine, clustered(120, DIM), records))


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("price<it.price", lambda p: p.get("price", 99) < 17),
        ({"price": {"<": {"it": "price"}}}, lambda p: p.get("price", 99) < 17),
        ("price=it.price", lambda p: p.get("price") == 17),
        ("brand=it.brand and not price>=it.price", lambda p: p["brand"] == "third" and p.get("price", -1) < 17),
        ("brand in (it.brand, other) or price>it.price", lambda p: p["brand"] != "it.co" or p.get("price", 0) > 17),
        ({"brand": {"in": [{"it": "brand"}, "it.co"]}}, lambda p: p["brand"] != "other"),
        ('brand="it.co"', lambda p: p["brand"] == "it.co"),
        ("added>it.added", lambda p: p["added"] > "2026-01-18"),
        ("id!=it.id", lambda p: True),
    ],
)
def test_a_filter_relative_to_the_liked_product(shop: Recommender, where: Any, passes: Any) -> None:
    answer = shop.recommend("warm", liked=["17"], where=where, k=120)
    expected = {product["id"] for product in shop.catalogue.products if passes(product)} - {"17"}
    assert {item.id for item in answer} == expected and expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "red"}, "where: it.: expected a query with one liked product, .* found 0 of them"),
        ({"liked": ["1", "2"]}, "found 2 of them"),
        ({"profile": Profile(liked=["1"])}, "found 0 of them"),
        ({"liked": ["50"]}, "where: it.price: expected a product that has a price, found one without"),
        ({"liked": ["gone"], "text": "red", "unknown": "ignore"}, "found 'gone', which the catalogue lacks"),
    ],
)
def test_without_that_product_there_is_an_error(shop: Recommender, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shop.recommend(where="price<it.price", **arguments)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("price<it.cost", "it.: expected a column of single values among added, brand, id, price, text, found 'cost'"),
        ("price=it.tags", "found texts column 'tags'"),
        ("price<it.brand", "where: price: expected a number"),
    ],
)
def test_columns_that_give_no_value_are_named(shop: Recommender, where: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shop.recommend(liked=["17"], where=where)


def test_alone_such_a_filter_says_what_it_needs(shop: Recommender) -> None:
    with pytest.raises(InputError, match=r"where: it\.price: expected a query with one liked product"):
        shop.catalogue.mask("price<it.price")


def test_words_and_dicts_stand_for_each_other() -> None:
    kinds = {"price": "number", "brand": "text"}
    where = parse_where("price<it.price and brand=it.brand", kinds)
    assert where == {"and": [{"price": {"<": {"it": "price"}}}, {"brand": {"==": {"it": "brand"}}}]}
    assert has_reference(where) and parse_where(to_words(where), kinds) == where
    literal = {"brand": {"==": "it.co"}}
    assert parse_where(to_words(literal), kinds) == literal and not has_reference(literal)


def test_an_empty_answer_shows_the_value(shop: Recommender) -> None:
    note = shop.recommend(liked=["0"], where="price<it.price").note
    assert note is not None and "price<0 lets 0 through" in note


def test_a_part_of_the_picture_is_what_counts(engine: Engine, colours: Catalogue) -> None:
    recommender = Recommender(engine, colours)
    both = np.concatenate([tiny.picture("red"), tiny.picture("blue")], axis=1)
    for crop, colour in (((0, 0, 0.5, 1), "red"), ([0.5, 0, 1, 1], "blue")):
        assert recommender.recommend(image=both, crop=crop, k=1)[0].id == colour
    data = recommender.answer(Query.from_dict({"text": "red", "k": 1}))
    assert data[0].id == "red"


@pytest.mark.parametrize("crop", [(0, 0, 1), (0.5, 0, 0.5, 1), (0, 0, 2, 1), "0,0,1,1", (0, 0, 1, None), 3])
def test_a_part_that_is_none_is_named(crop: Any) -> None:
    with pytest.raises(InputError, match="crop: expected left, top, right, bottom in fractions from 0 to 1"):
        Query(image=b"x", crop=crop)


def test_a_part_needs_a_picture() -> None:
    with pytest.raises(InputError, match="crop: expected a picture of the query, found none"):
        Query("red", crop=(0, 0, 1, 1))
