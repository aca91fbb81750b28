"""The part that holds simulated queues against a cluster, on shards of this process."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from clipshelf import Engine
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.shards import LocalShards
from clipshelf.scale.writing import split
from clipshelf_bench.datasets.clustered import clustered_catalogue
from clipshelf_bench.parts.plan_queues import TimedShards, load_rows
from support.same_answers import facts


@pytest.fixture
def recommender(engine: Engine, tmp_path: Path) -> ShardedRecommender:
    catalogue = split(clustered_catalogue(engine, 300), tmp_path / "shards", 2)
    return ShardedRecommender(engine, catalogue, LocalShards(catalogue.folder, catalogue.manifest))


def test_loads_are_measured_and_simulated(recommender: ShardedRecommender) -> None:
    shards = recommender.shards
    rows = load_rows(recommender.engine, recommender.catalogue, shards, alone=20, queries=40, notify=lambda _: None)
    assert [row["case"] for row in rows] == ["2 shards, 30%", "2 shards, 50%", "2 shards, 70%"]
    rates = [row["per_second"] for row in rows]
    assert rates[1] / rates[0] == pytest.approx(5 / 3) and rates[2] / rates[0] == pytest.approx(7 / 3)
    for row in rows:
        assert 0 < row["simulated_p50_ms"] <= row["simulated_p99_ms"]
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["p99_ratio"] == pytest.approx(row["p99_ms"] / row["simulated_p99_ms"])


def test_timed_shards_answer_alike_and_note_each_search(recommender: ShardedRecommender) -> None:
    with closing(TimedShards(recommender.shards, 2)) as timed:
        other = ShardedRecommender(recommender.engine, recommender.catalogue, timed)
        assert facts(other.recommend("red 1")) == facts(recommender.recommend("red 1"))
        [seconds] = timed.searches
        assert len(seconds) == 2 and min(seconds) > 0
