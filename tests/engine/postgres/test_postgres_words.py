"""Words in PostgreSQL: answers by words are those of the catalogue that was written there, to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeAlias

import numpy as np
import psycopg
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.lexical.tokens import token_key
from clipshelf.catalogue.lexical.word_index import weigh
from clipshelf.postgres.catalogue import SEARCHES, PostgresCatalogue
from clipshelf.postgres.recommender import PostgresRecommender
from clipshelf.postgres.tables import export_catalogue
from clipshelf.types import Product
from hypothesis import given, settings
from hypothesis import strategies as st
from support.same_answers import QUERIES, assert_same, facts, records, union

Open: TypeAlias = Callable[..., PostgresCatalogue]

PIECES = [
    "red",
    "Größe",
    "straße",
    "東京",
    "DM-1942",
    "dm 1942",
    "XY-7",
    "xy-7",
    "a" * 70,
    "...",
    "!",
    "é",
    "naïve",
    "7",
]
ASKED = [*PIECES, "SKU-3", "sku3", "sku 17", "dm1942 größe", "groesse naive", "nothing here", "", "red red SKU-9 xy7"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"k": 40},
    {"weights": {"words": 0.05}},
    {"weights": {"words": 3.0}, "k": 25},
    {"weights": {"words": 0.0}},
    {"boost": {"price": -0.7, "sold": 0.2}, "fresh": {"added": "30d"}, "now": "2026-06-01"},
    {"boost": {"matched": 0.4}, "min_relevance": 0.3},
    {"group_by": "family", "group_members": 2, "k": 6},
    {"group_by": "family", "boost": {"price": 0.5}, "k": 50},
    {"diversity": 0.4},
    {"min_relevance": 0.5},
    {"liked": ["p1"], "disliked": ["p2"]},
]
LIMITS: list[dict[str, Any]] = [
    {},
    {"where": "price<20"},
    {"where": {"id": {"in": ["p3", "p9", "p17"]}}},
    {"where": "matched=2", "exclude": ["p2", "p7"]},
    {"exclude": ["p3", "p4"]},
]


def worded(engine: Engine, count: int, seed: int, share: float) -> Catalogue:
    """A catalogue with codes, texts in several scripts and texts without tokens; `share` of it lacks a side."""
    rng = np.random.default_rng(seed)
    products: list[Product] = records(count, seed)
    for row, product in enumerate(products):
        product["text"] = " ".join(rng.choice(PIECES, rng.integers(0, 5)))
        product["sku"] = f"SKU-{row}"
        product["matched"] = row % 5  # a name that the join of words has, too
    return union(engine, count, seed, share=share, words=("text", "sku", "family"), products=products)


Shelf: TypeAlias = tuple[Recommender, list[PostgresRecommender]]


@pytest.fixture(scope="module")
def shelves(narrow_engine: Engine, dsn: str) -> Iterator[list[Shelf]]:
    """Catalogues of several sizes on disk, and in the database, searched exactly and by an index."""
    with ExitStack() as stack:
        made = []
        for count, share in ((0, 0.0), (1, 0.0), (40, 0.3), (150, 0.3), (200, 0.0)):
            catalogue, name = worded(narrow_engine, count, count, share), f"words{count}"
            export_catalogue(catalogue, dsn, name, index=True)
            opened = [
                stack.enter_context(closing(PostgresCatalogue(dsn, name, search=search, candidates=1000)))
                for search in SEARCHES
            ]
            others = [PostgresRecommender(narrow_engine, store) for store in opened]
            made.append((Recommender(narrow_engine, catalogue), others))
        yield made


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_words_with_any_options(shelves: list[Shelf], data: st.DataObject) -> None:
    one, others = data.draw(st.sampled_from(shelves))
    texts = st.one_of(st.sampled_from(ASKED), st.lists(st.sampled_from(ASKED), min_size=1, max_size=3))
    query = {"text": data.draw(texts), "unknown": "ignore"} | data.draw(st.sampled_from(OPTIONS))
    query |= data.draw(st.sampled_from(LIMITS))
    for other in others:
        assert_same(one, other, [query])


def test_every_kind_of_query_with_words(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    catalogue = worded(narrow_engine, 120, seed=1, share=0.3)
    export_catalogue(catalogue, dsn, "spoken")
    one, other = Recommender(narrow_engine, catalogue), PostgresRecommender(narrow_engine, opened("spoken"))
    assert_same(one, other, QUERIES)
    [first] = facts(other.recommend("sku 17", k=1))["recommendations"]
    assert first["id"] == "p17" and _of_words(first) > 0


def test_statistics_of_words_are_those_of_the_index(narrow_engine: Engine, dsn: str, opened: Open) -> None:
    catalogue = worded(narrow_engine, 150, seed=2, share=0.3)
    export_catalogue(catalogue, dsn, "counted")
    words, index = opened("counted").words, catalogue.words
    assert words is not None and index is not None
    keys = [*index.keys.tolist(), token_key("nowhere")]
    assert words.having(keys) == index.having(keys)
    for text in ASKED:
        assert weigh(text, words) == weigh(text, index)


@pytest.fixture(scope="module")
def coded(narrow_engine: Engine, dsn: str) -> Catalogue:
    """So many products that the database prefers its index; their ids are words."""
    catalogue = union(narrow_engine, 4000, seed=17, share=0.01, duplicates=0, words=("id", "family"))
    export_catalogue(catalogue, dsn, "coded", index=True)
    return catalogue


def test_an_index_search_misses_no_product_that_has_the_words(
    narrow_engine: Engine, dsn: str, coded: Catalogue
) -> None:
    one, before = Recommender(narrow_engine, coded), _scans(dsn)
    texts = ["p77", "p1234 f9", ["p1999", "p707"]]
    with closing(PostgresCatalogue(dsn, "coded", search="hnsw", candidates=200)) as store:
        other = PostgresRecommender(narrow_engine, store)
        answers = [facts(other.recommend(text, k=15))["recommendations"] for text in texts]
        boosted = facts(other.recommend("p77", boost={"price": 0.3}))
    assert _scans(dsn) - before == len(texts)
    assert boosted == facts(one.recommend("p77", boost={"price": 0.3}))
    for text, found in zip(texts, answers, strict=True):
        exact = facts(one.recommend(text, k=15))["recommendations"]
        with_words = [item for item in exact if _of_words(item) > 0]
        assert with_words
        assert [item for item in found if _of_words(item) > 0] == with_words
        assert sum(item in exact for item in found) >= 12


def test_the_tables_of_words_go_with_that_of_their_products(narrow_engine: Engine, dsn: str) -> None:
    def tables() -> list[str]:
        with psycopg.connect(dsn) as connection:
            lines = connection.execute(
                "select relname from pg_class where relkind = 'r' and relname ~ '^clipshelf_gone_'"
            )
            return sorted(name for (name,) in lines)

    worded_, plain = (union(narrow_engine, 20, seed=4, words=words) for words in (("text",), ()))
    export_catalogue(worded_, dsn, "gone")
    first = tables()
    assert len(first) == 3
    export_catalogue(plain, dsn, "gone")
    assert len(tables()) == 4 and set(first) < set(tables())
    export_catalogue(plain, dsn, "gone")
    assert len(tables()) == 2 and not set(first) & set(tables())


def _of_words(item: dict[str, Any]) -> float:
    """What words add to the score of a product."""
    return math.fsum(each["value"] for each in item["contributions"] if each["signal"] == "words")


def _scans(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        [(scans,)] = connection.execute(
            "select coalesce(sum(idx_scan), 0)::int from pg_stat_user_indexes "
            "where relname like 'clipshelf_coded_%' and indexrelname like '%embedding%'"
        )
    return int(scans)
