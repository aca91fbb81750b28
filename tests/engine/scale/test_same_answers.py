"""Answers of shards are those of one catalogue with all their products: ids, scores and contributions to the bit."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommendations, Recommender
from clipshelf.catalogue.content_keys import id_keys
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.errors import InputError
from clipshelf.recommend.query import Query
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from clipshelf.types import FloatArray, Product
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
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
        product["size"] = {"eu": int(rng.integers(36, 46))} if row % 2 else {"us": "M"}
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


def union(engine: Engine, count: int, seed: int, *, share: float = 0.3, duplicates: int = 3) -> Catalogue:
    """A catalogue with duplicates and one-sided products."""
    matrix = one_sided(clustered(max(count, 1), DIM, seed=seed)[:count], seed, share)
    for row in range(count - duplicates, count):
        if row > 0:
            matrix[row] = matrix[row % max(1, count // 2)]
    products = records(count, seed)
    keys = np.zeros((count, 3, 16), np.uint8)
    keys[:, 0] = id_keys(product["id"] for product in products)
    return Catalogue(
        MemoryContents(products, matrix, keys, {}, ("text", "family")), engine.fingerprint, Path("/nowhere"), None
    )


@pytest.fixture(scope="session")
def narrow_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("narrow"), dim=DIM))


def pair(engine: Engine, catalogue: Catalogue, folder: Path, shards: int) -> tuple[Recommender, ShardedRecommender]:
    """A recommender of a catalogue, and one of its shards."""
    return Recommender(engine, catalogue), ShardedRecommender(engine, split(catalogue, folder, shards))


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


def assert_same(one: Recommender, many: ShardedRecommender, queries: Sequence[dict[str, Any]]) -> None:
    failures: list[tuple[Any, Any]] = []
    for query in queries:
        outcomes: list[Any] = []
        for recommender in (one, many):
            try:
                outcomes.append(facts(recommender.recommend(**query)))
            except InputError as error:
                outcomes.append(str(error))
        if outcomes[0] != outcomes[1]:
            failures.append((query, outcomes))
    assert not failures, failures[0]


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
