"""Fields of records in shards: they boost, group and filter as on one machine, whatever values each shard has."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.content_keys import id_keys
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.errors import InputError, ShardLost
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.pooled_table import PooledContents
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.selections import LackedQuantiles
from clipshelf.scale.shards import SLOW_METHODS, LocalShards
from clipshelf.scale.writing import split
from clipshelf.types import Product
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.same_answers import DIM, FIELD_QUERIES, assert_same, facts, union
from support.shelves import clustered

# Values of a field, of which each shard gets those of one or two sorts.
VALUES: dict[str, list[Any]] = {
    "integers": [1, 2, 3, 40],
    "floats": [1.0, 2.5, -0.0, 0, 40.0],
    "beyond float64": [2**53, 2**53 + 1, float(2**53), 10**20, 1e20, -(2**60)],
    "cells": ["1,5", "12 €", "1.099", "7", "1e3"],
    "true and false": [True, False],
    "yes and no": ["yes", "no", "Y", "n"],
    "dates": ["2026-05-01", "2026-05-01T09:30:00+02:00", "2026-05-01T07:30Z", "2025-12-31T23:30:00-05:00"],
    "texts": ["a", "b", "\u00e9", "e\u0301"],
    "lists": [[1, 2], ["a"], []],
    "records": [{"x": 1}, [{"x": 2}, {"x": 3}]],
    "nothing": ["N/A", None],
    "no field": [],
}
QUERIES: list[dict[str, Any]] = [
    {"boost": {"v.a": 0.3}},
    {"boost": {"v.a": -0.3, "price": 0.2}, "min_relevance": 0.3},
    {"fresh": {"v.a": "30d"}, "now": "2026-06-01"},
    {"group_by": "v.a", "group_members": 3},
    {"group_by": "v.a", "boost": {"v.a": 0.2}, "k": 60},
    {"where": "price>3", "group_by": "v.a", "group_members": 1, "exclude": ["p1", "p2"]},
    {"where": "v.a is missing", "boost": {"v.a": 1}},
    {"liked": ["p1"], "where": "v.a<=it.v.a"},
    {"boost": {"v.a.x": 1}},
    {"boost": {"v": 1}},
    {"group_by": "v.b"},
]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("dotted"), dim=DIM))


def catalogue_of(engine: Engine, products: Sequence[Product]) -> Catalogue:
    keys = np.zeros((len(products), 3, 16), np.uint8)
    keys[:, 0] = id_keys(product["id"] for product in products)
    contents = MemoryContents(list(products), clustered(max(1, len(products)), DIM, seed=3)[: len(products)], keys)
    return Catalogue(contents, engine.fingerprint, Path("/nowhere"), None)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_fields_of_any_values_have_the_answers_of_one_catalogue(engine: Engine, data: st.DataObject) -> None:
    shards, count = data.draw(st.integers(1, 4), "shards"), data.draw(st.integers(0, 40), "products")
    sort = st.sampled_from(list(VALUES))
    first = data.draw(sort, "values of the first shard")
    sorts = [first, *(data.draw(st.one_of(st.just(first), sort), "values of another") for _ in range(shards - 1))]
    rng = np.random.default_rng(data.draw(st.integers(0, 999), "seed"))
    odd = data.draw(st.sampled_from([0.0, 0.05]), "share of values of another sort")
    ids = [f"p{row}" for row in range(count)]
    products: list[Product] = []
    for id_, owner in zip(ids, shards_of(ids, shards).tolist(), strict=True):
        product: Product = {"id": id_, "text": "red shoe", "price": int(rng.integers(1, 9)), "v": {"other": "x"}}
        values = VALUES[sorts[owner] if rng.random() >= odd else rng.choice(list(VALUES))]
        if values and rng.random() < 0.9:
            product["v"] = {"a": values[rng.integers(len(values))]}
        products.append(product)
    catalogue = catalogue_of(engine, products)
    with tempfile.TemporaryDirectory() as folder:
        many = ShardedRecommender(engine, split(catalogue, Path(folder), shards))
        queries = data.draw(st.permutations(QUERIES), "order")
        assert_same(Recommender(engine, catalogue), many, [{"text": "red", **query} for query in queries])


@pytest.mark.parametrize(
    "arguments",
    [
        {"where": "v.a=it.v.a"},
        {"where": "v.a in (1, x)"},
        {"group_by": "v.a", "group_members": 9},
        {"where": "price>0", "group_by": "v.a", "k": 2},
    ],
)
def test_a_field_of_numbers_in_one_shard_and_of_text_in_all(
    engine: Engine, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    ids = [f"p{row}" for row in range(60)]
    owners = shards_of(ids, 3).tolist()
    products: list[Product] = [
        {"id": id_, "text": "x", "price": 1, "v": {"a": row % 2 if owner == 0 else ["1", "x", "y"][row % 3]}}
        for row, (id_, owner) in enumerate(zip(ids, owners, strict=True))
    ]
    liked = next(id_ for id_, owner in zip(ids, owners, strict=True) if owner == 0)
    catalogue = catalogue_of(engine, products)
    many = ShardedRecommender(engine, split(catalogue, tmp_path / "s", 3))
    # The first query of shards that know nothing of the field.
    query: dict[str, Any] = {"liked": [liked], "k": 40, **arguments}
    assert_same(Recommender(engine, catalogue), many, [query])
    assert len(many.recommend(**query)) > 1


def test_the_value_of_a_group_has_one_spelling(engine: Engine, tmp_path: Path) -> None:
    ids = [f"p{row}" for row in range(20)]
    for seed, whole in enumerate((int, float)):  # of the first shard, the others have the other type
        owners = shards_of(ids, 3).tolist()
        catalogue = catalogue_of(
            engine,
            [
                {"id": id_, "text": "x", "v": {"a": (whole if owner else {int: float, float: int}[whole])(row % 3)}}
                for row, (id_, owner) in enumerate(zip(ids, owners, strict=True))
            ],
        )
        many = ShardedRecommender(engine, split(catalogue, tmp_path / str(seed), 3))
        for recommender in (Recommender(engine, catalogue), many):
            answer = recommender.recommend(text="x", group_by="v.a")
            assert sorted(repr(item.group.value) for item in answer if item.group) == ["0", "1", "2"]


def test_names_and_columns_in_either_normal_form(engine: Engine, tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "größe") for form in ("NFC", "NFD")]
    records: list[Product] = [
        {"id": f"p{row}", "text": "x", f"{forms[1]} alt": row % 7, "größen": {forms[row % 2]: row % 5}}
        for row in range(30)
    ]
    catalogue = catalogue_of(engine, records)
    many = ShardedRecommender(engine, split(catalogue, tmp_path / "s", 3))
    queries: list[dict[str, Any]] = [
        {"text": "x", "boost": {f"{form} alt": 0.5, f"größen.{form}": 0.2}} for form in forms
    ]
    assert_same(Recommender(engine, catalogue), many, queries)
    [answer, other] = [many.recommend(**query) for query in queries]
    assert [item.score for item in answer] == [item.score for item in other]


def test_more_fields_than_stay_in_memory(engine: Engine, tmp_path: Path) -> None:
    names = [f"f{i}" for i in range(150)]
    records: list[Product] = [
        {"id": f"p{row}", "text": "x", "v": {name: (row * 7 + i) % 10 for i, name in enumerate(names)}}
        for row in range(20)
    ]
    catalogue = catalogue_of(engine, records)
    many = ShardedRecommender(engine, split(catalogue, tmp_path / "s", 2))
    halves = [{f"v.{name}": 0.01 * i + 0.01 for i, name in enumerate(half)} for half in (names[:75], names[75:])]
    one = Recommender(engine, catalogue)
    assert_same(one, many, [{"text": "x", "boost": boost} for boost in (*halves, *halves)])
    batch = [{"text": "x", "boost": boost} for boost in halves]
    pairs = zip(one.recommend_batch(batch), many.recommend_batch(batch), strict=True)
    assert all(facts(single) == facts(sharded) for single, sharded in pairs)


class Replicas:
    """Shards of which each has some replicas, which take turns; it counts what is sent to them."""

    def __init__(self, catalogue: ShardedCatalogue, count: int) -> None:
        self._catalogue = catalogue
        self._replicas = [LocalShards(catalogue.folder, catalogue.manifest) for _ in range(count)]
        self._turn = 0
        self.lost: set[int] = set()
        self.methods: list[str] = []
        self.sent = self.lacked = 0

    def restart(self) -> None:
        """All replicas forget what they have learnt."""
        catalogue = self._catalogue
        self._replicas = [LocalShards(catalogue.folder, catalogue.manifest) for _ in self._replicas]

    def call(self, method: Any, arguments: Any) -> dict[int, Any]:
        self._turn += 1
        self.methods.append(method)
        if method == "search":
            self.sent += sum(bool(fields.quantiles) for _, fields in arguments.values())
        present = {number: of_shard for number, of_shard in arguments.items() if number not in self.lost}
        results = self._replicas[self._turn % len(self._replicas)].call(method, present)
        self.lacked += sum(isinstance(result, LackedQuantiles) for result in results.values())
        return results

    def close(self) -> None:
        for each in self._replicas:
            each.close()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_replica_gets_quantiles_and_no_later_query_carries_them(
    engine: Engine, tmp_path: Path, count: int
) -> None:
    catalogue = union(engine, 60, seed=8)
    sharded = split(catalogue, tmp_path / "s", 3)
    many = ShardedRecommender(engine, sharded, shards := Replicas(sharded, count))
    query: dict[str, Any] = {"text": "red", "boost": {"size.eu": 0.4}, "k": 20}
    expected = facts(Recommender(engine, catalogue).recommend(**query))
    for _ in range(2):
        assert all(facts(many.recommend(**query)) == expected for _ in range(30))
        sent, lacked = shards.sent, shards.lacked
        assert lacked >= 3 and sent >= 3 * count
        assert all(facts(many.recommend(**query)) == expected for _ in range(10))
        assert (shards.sent, shards.lacked) == (sent, lacked)
        shards.restart()
        shards.sent = shards.lacked = 0
    assert shards.methods.count("evidence") == shards.methods.count("count_field") == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_query_waits_for_a_pass_over_all_records(
    engine: Engine, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = union(engine, 60, seed=8)
    sharded = split(catalogue, tmp_path / "s", 3)
    many = ShardedRecommender(engine, sharded, shards := Replicas(sharded, count))
    readers: set[str] = set()

    def products(contents: PooledContents) -> Any:
        readers.add(shards.methods[-1])
        return original(contents)

    original = vars(PooledContents)["products"].fget
    monkeypatch.setattr(PooledContents, "products", property(products))
    queries = [*FIELD_QUERIES, {"text": "red", "where": "text contains shoe"}, {"text": "red", "where": "size.us=L"}]
    for _ in range(count):
        assert_same(Recommender(engine, catalogue), many, queries)
    assert "read_columns" in readers and readers <= SLOW_METHODS
    readers.clear()
    assert_same(Recommender(engine, catalogue), many, queries)
    assert readers == set()


def test_a_shard_that_does_not_end_reading_in_time_makes_an_answer_partial(engine: Engine, tmp_path: Path) -> None:
    sharded = split(union(engine, 60, seed=8), tmp_path / "s", 3)

    class Reading(Replicas):
        def call(self, method: Any, arguments: Any) -> dict[int, Any]:
            results = super().call(method, arguments)
            return {number: result for number, result in results.items() if method != "read_columns" or number != 1}

    many = ShardedRecommender(engine, sharded, shards := Reading(sharded, 1))
    query: dict[str, Any] = {"text": "red", "fresh": {"stock.since": "30d"}, "now": "2026-06-01", "k": 60}
    assert many.recommend(**query).missing_shards == (1,)
    assert many.recommend(**query).missing_shards == ()  # it has read them meanwhile
    assert shards.methods.count("read_columns") == 1


def test_a_lost_shard_is_an_error_as_long_as_its_values_are_not_known(engine: Engine, tmp_path: Path) -> None:
    catalogue = union(engine, 60, seed=8)
    sharded = split(catalogue, tmp_path / "s", 3)
    many = ShardedRecommender(engine, sharded, shards := Replicas(sharded, 1))
    boosted: dict[str, Any] = {"text": "red", "boost": {"size.eu": 0.4}, "k": 60}
    grouped: dict[str, Any] = {"text": "red", "group_by": "size.us", "k": 60}
    for query in (boosted, grouped):
        shards.lost = {1}
        with pytest.raises(ShardLost, match="found none of 1"):
            many.recommend(**query)
        many.recommend(text="red")  # others have their answers
        shards.lost = set()
        whole = many.recommend(**query)
        assert facts(whole) == facts(Recommender(engine, catalogue).recommend(**query))
    shards.lost = {1}
    partial = many.recommend(**boosted)
    scores = {item.id: item.score for item in many.recommend(text="red", k=60)}
    owners = dict(zip(scores, shards_of(list(scores), 3).tolist(), strict=True))
    assert partial.missing_shards == (1,) and all(owners[item.id] != 1 for item in partial)
    shards.restart()  # quantiles of all shards are here, so those that were started again get them
    assert facts(many.recommend(**boosted)) == facts(partial)


def test_a_shard_that_is_lost_between_its_two_searches_makes_an_answer_partial(engine: Engine, tmp_path: Path) -> None:
    catalogue = union(engine, 60, seed=8)
    sharded = split(catalogue, tmp_path / "s", 3)

    class LosingTheSecond(Replicas):
        def call(self, method: Any, arguments: Any) -> dict[int, Any]:
            if method == "search" and any(fields.quantiles for _, fields in arguments.values()):
                self.lost = {2}
            return super().call(method, arguments)

    many = ShardedRecommender(engine, sharded, LosingTheSecond(sharded, 1))
    query: dict[str, Any] = {"text": "red", "boost": {"size.eu": 0.4}, "k": 60}
    partial = many.recommend(**query)
    whole = Recommender(engine, catalogue).recommend(**query)
    scores = {item.id: item.score for item in whole}
    assert partial.missing_shards == (2,) and 0 < len(partial) < len(whole)
    assert all(item.score == scores[item.id] for item in partial)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"boost": {"size.uk": 1}},
            r"boost: expected a column of kind number or bool among price, sold, found 'size\.uk'",
        ),
        ({"boost": {"size.us": 1}}, r"boost: expected .*, found text column 'size\.us'"),
        (
            {"fresh": {"stock.sold": 1}},
            r"fresh: expected a column of kind date among added, found bool column 'stock\.sold'",
        ),
        ({"group_by": "stock.shop"}, r"group_by: expected .*, found mixed column 'stock\.shop'"),
    ],
)
def test_what_does_not_fit_is_named(engine: Engine, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    many = ShardedRecommender(engine, split(union(engine, 30, seed=4), tmp_path / "s", 2))
    with pytest.raises(InputError, match=message):
        many.recommend(text="red", **arguments)
