"""Answers of shards are those of one catalogue with all their products: ids, scores and contributions to the bit."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.recommend.query import Query
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from support.same_answers import DIM, QUERIES, assert_same, facts, union


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
    assert_same(one, many, QUERIES)
    batch = [Query(**{**query, "unknown": "ignore"}) for query in QUERIES]
    pairs = zip(one.recommend_batch(batch), many.recommend_batch(batch), strict=True)
    assert all(facts(single) == facts(sharded) for single, sharded in pairs)


@settings(max_examples=12, deadline=None)
@given(
    count=st.integers(0, 70),
    shards=st.integers(1, 6),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.4, 1.0]),
    queries=st.lists(st.sampled_from(QUERIES), min_size=3, max_size=4, unique_by=str),
)
def test_any_catalogue_has_the_answers_of_its_shards(  # noqa: PLR0917  (the parts of one case)
    narrow_engine: Engine,
    count: int,
    shards: int,
    seed: int,
    share: float,
    queries: list[dict[str, Any]],
) -> None:
    catalogue = union(narrow_engine, count, seed, share=share, duplicates=min(seed, count))
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
    assert [sharded.words.having(int(key)) for key in words.keys] == np.diff(words.starts).tolist()
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
