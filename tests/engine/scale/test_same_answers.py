"""Answers of shards are those of one catalogue with all their products: ids, scores and contributions to the bit."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.recommend.query import Query
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.same_answers import DIM, FIELD_QUERIES, QUERIES, assert_same, facts, union


@pytest.fixture(scope="session")
def narrow_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("narrow"), dim=DIM))


def pair(engine: Engine, catalogue: Catalogue, folder: Path, shards: int) -> tuple[Recommender, ShardedRecommender]:
    """A recommender of a catalogue, and one of its shards."""
    return Recommender(engine, catalogue), ShardedRecommender(engine, split(catalogue, folder, shards))


@pytest.mark.parametrize("shards", [1, 3, 5])
@pytest.mark.parametrize("gap_correction", [True, False])
def test_every_kind_of_query_has_the_answer_of_one_catalogue(
    narrow_engine: Engine, tmp_path: Path, shards: int, gap_correction: bool
) -> None:
    catalogue = union(narrow_engine, 120, seed=1)
    one = Recommender(narrow_engine, catalogue, gap_correction=gap_correction)
    many = ShardedRecommender(narrow_engine, split(catalogue, tmp_path / "s", shards), gap_correction=gap_correction)
    assert_same(one, many, [*QUERIES, *FIELD_QUERIES])
    batch = [Query(**{**query, "unknown": "ignore"}) for query in (*QUERIES, *FIELD_QUERIES[:8])]
    pairs = zip(one.recommend_batch(batch), many.recommend_batch(batch), strict=True)
    assert all(facts(single) == facts(sharded) for single, sharded in pairs)


NOW = "2026-06-01"
# Arguments of queries that go together in any number; ids are made for the catalogue.
SIGNALS: list[dict[str, Any]] = [
    {"text": "red dm-42"},
    {"text": ["warm shoe", "blue watch"], "weights": {"text_text": 0.0, "words": 0.5}},
    {"text": "green shirt", "image": tiny.picture("green")},
    {"image": [tiny.picture("red"), tiny.picture("blue")], "crop": (0.1, 0.1, 0.9, 0.8)},
    {"liked": ["p0", ("p3", 2.5)], "disliked": ["p1"]},
    {"text": "xy 7", "liked": ["p2"], "history": [("p4", "viewed", "2026-05-30"), ("p5", "bought", "2026-05-01")]},
]
RANKING: list[dict[str, Any]] = [
    {},
    {"diversity": 0.5},
    {"boost": {"price": -0.7, "sold": 0.3}},
    {"fresh": {"added": "30d"}, "boost": {"price": 0.2}},
    {"group_by": "family"},
    {"group_by": "family", "group_members": 2, "boost": {"price": 0.4}},
    {"group_by": "price", "diversity": 0.2},
    {"boost": {"size.eu": 0.4, "stock.sold": -0.2}, "fresh": {"stock.since": 20}},
    {"group_by": "size.eu", "group_members": 3, "boost": {"stock.shop.berlin": 0.6}},
    {"group_by": "stock.since", "fresh": {"added": 9}},
    {"boost": {"size.us": 1}},
]
LIMITS: list[dict[str, Any]] = [
    {},
    {"k": 1},
    {"k": 200},
    {"min_relevance": 0.45, "k": 50},
    {"exclude": ["p0", "p6", "nobody"], "exclude_bought": True, "k": 30},
]
FILTERS = [None, "price<20", "sold=true and size.eu>40", "tags contains a", "price>1000", "one shard", "one product"]


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_query_of_any_catalogue_has_the_answer_of_its_shards(narrow_engine: Engine, data: st.DataObject) -> None:
    count, shards = data.draw(st.integers(0, 60), "products"), data.draw(st.integers(1, 6), "shards")
    seed = data.draw(st.integers(0, 99), "seed")
    catalogue = union(
        narrow_engine,
        count,
        seed,
        share=data.draw(st.sampled_from([0.0, 0.4, 1.0]), "one-sided"),
        duplicates=data.draw(st.integers(0, count), "duplicates"),
        words=data.draw(st.sampled_from([(), ("text",), ("text", "family")]), "words"),
        several=data.draw(st.sampled_from([0.0, 0.5]), "sides of several parts"),
        curve=data.draw(st.sampled_from([None, RelevanceCurve(0.5, -1.0, 99)]), "curve"),
    )
    ids = [f"p{row}" for row in range(count)]
    owners = shards_of(ids, shards)
    queries = []
    for _ in range(4):
        query = {"now": NOW, "unknown": "ignore"}
        for arguments in (SIGNALS, RANKING, LIMITS):
            query |= data.draw(st.sampled_from(arguments))
        where: Any = data.draw(st.sampled_from(FILTERS), "filter")
        if where == "one shard":
            where = {"id": {"in": [id_ for id_, owner in zip(ids, owners, strict=True) if owner == 0] or ["nobody"]}}
        elif where == "one product":
            where = {"id": f"p{seed % max(1, count)}"}
        queries.append(query | ({"where": where} if where else {}))
    with tempfile.TemporaryDirectory() as folder:
        assert_same(*pair(narrow_engine, catalogue, Path(folder), shards), queries)


def test_the_pooled_statistics_are_those_of_all_products(narrow_engine: Engine, tmp_path: Path) -> None:
    catalogue = union(narrow_engine, 300, seed=2)
    sharded = split(catalogue, tmp_path / "s", 4)
    assert np.array_equal(sharded.manifest.statistics.means, catalogue.statistics.means)
    assert np.array_equal(sharded.manifest.statistics.spreads, catalogue.statistics.spreads)
    assert dict(sharded.manifest.kinds) == dict(catalogue.contents.kinds)
    words = catalogue.words
    assert words is not None and sharded.words is not None
    assert sharded.words.mean_length == words.mean_length
    assert sharded.words.having(words.keys.tolist()) == np.diff(words.starts).tolist()
    assert len(sharded) == 300 == sum(len(sharded.shard(number)) for number in range(4))


def test_a_filter_that_leaves_one_shard(narrow_engine: Engine, tmp_path: Path) -> None:
    catalogue = union(narrow_engine, 90, seed=3)
    one, many = pair(narrow_engine, catalogue, tmp_path / "s", 3)
    ids = [f"p{row}" for row in range(90)]
    first = [id_ for id_, shard in zip(ids, shards_of(ids, 3), strict=True) if shard == 1]
    assert 10 < len(first) < 60
    assert_same(one, many, [{"text": "red", "where": {"id": {"in": first}}, "k": 90}])


def test_a_missing_shard_makes_an_answer_partial(narrow_engine: Engine, tmp_path: Path) -> None:
    catalogue = union(narrow_engine, 90, seed=4)
    sharded = split(catalogue, tmp_path / "s", 3)
    many = ShardedRecommender(narrow_engine, sharded, shards := Losing(ShardedRecommender(narrow_engine, sharded)))
    whole = many.recommend("red shoe", k=90)
    shards.lost = {1}
    partial = many.recommend("red shoe", k=90)
    assert partial.missing_shards == (1,) and whole.missing_shards == ()
    owners = shards_of([item.id for item in whole], 3)
    assert [item.id for item in partial] == [i.id for i, shard in zip(whole, owners, strict=True) if shard != 1]
    assert partial.to_dict()["missing_shards"] == [1] and "without the products of the shards 1" in str(partial)
    there = next(item.id for item, shard in zip(whole, owners, strict=True) if shard == 1)
    with pytest.raises(ConnectionError, match="found none of 1"):
        many.recommend(liked=[there])


def test_a_shard_that_is_lost_after_it_was_searched_makes_an_answer_partial(
    narrow_engine: Engine, tmp_path: Path
) -> None:
    sharded = split(union(narrow_engine, 300, seed=4), tmp_path / "s", 3)

    class LosingRecords(Losing):
        """Shards of which one is lost when it is called for records."""

        def call(self, method: Any, arguments: Any) -> dict[int, Any]:
            if method == "records":
                self.lost = {1}
            return super().call(method, arguments)

    shards = LosingRecords(ShardedRecommender(narrow_engine, sharded))
    many = ShardedRecommender(narrow_engine, sharded, shards)
    query: dict[str, Any] = {"text": "red shoe", "k": 200}  # more candidates than come with their records
    late = many.recommend(**query)
    assert late.missing_shards == (1,) and facts(late) == facts(many.recommend(**query))


class Losing:
    """Shards some of which do not answer."""

    def __init__(self, recommender: ShardedRecommender) -> None:
        self._shards = recommender.shards
        self.lost: set[int] = set()

    def call(self, method: Any, arguments: Any) -> dict[int, Any]:
        return self._shards.call(method, {n: a for n, a in arguments.items() if n not in self.lost})

    def close(self) -> None:
        self._shards.close()


def test_a_sharded_catalogue_is_pickled_as_its_generation(narrow_engine: Engine, tmp_path: Path) -> None:
    catalogue = union(narrow_engine, 30, seed=5)
    sharded = split(catalogue, tmp_path / "s", 2)
    content = pickle.dumps(sharded)
    assert pickle.loads(content).manifest.to_bytes() == sharded.manifest.to_bytes()
    split(catalogue, tmp_path / "s", 3)
    with pytest.raises(ValueError, match="expected generation 1, which was pickled, found 2"):
        pickle.loads(content)
    assert ShardedCatalogue(tmp_path / "s").shards == 3
