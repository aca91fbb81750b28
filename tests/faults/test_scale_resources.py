"""Shards and workers on Ray where resources run out: an object store without room, and processes that stand still."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from clipshelf import Engine, Recommender
from clipshelf.errors import ShardLost
from clipshelf.scale.chunks import CHUNK
from clipshelf.scale.connections import Connections
from clipshelf.scale.indexing import OneProcess, index_shards
from clipshelf.scale.ray_runtime import load_ray
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from support import tiny
from support.interrupted_embedding import InterruptedExecutor, files_of_catalogue
from support.processes import processes_named, stop_process
from support.same_answers import DIM, facts, union

pytest.importorskip("ray", reason="needs Ray: pip install 'clipshelf[scale]'")

SHARDS = 2
STORE = 80 << 20  # bytes, about the least that Ray takes
PATIENCE = 2.0  # seconds
STILL = 5.0  # seconds
# Its candidates are more bytes than Ray sends in a message: they go through the object store.
QUERY: dict[str, Any] = {"text": "red shoe", "k": 3_000}


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with a small object store, which does not move objects to the disk."""
    ray = load_ray()
    ray.init(
        "local",
        num_cpus=4,
        object_store_memory=STORE,
        _system_config={"automatic_object_spilling_enabled": False, "oom_grace_period_s": 0},
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("narrow"), dim=DIM), threads=1)


@pytest.fixture(scope="module")
def one(engine: Engine) -> Recommender:
    return Recommender(engine, union(engine, 6_000, seed=8))


@contextmanager
def sharded(one: Recommender, folder: Path, replicas: int = 1) -> Iterator[tuple[ShardedRecommender, list[int]]]:
    """A recommender of the same products in shards, and the processes of their actors."""
    catalogue = split(one.catalogue, folder / "many", SHARDS)
    before = actors()  # Ray ends those of another test some time after it
    shards = RayShards(catalogue, replicas=replicas, cpus=0.1, patience=PATIENCE)
    try:
        yield ShardedRecommender(one.engine, catalogue, shards), sorted(actors() - before)
    finally:
        shards.close()


def test_a_full_object_store_costs_no_answer_and_where_ray_carries_it_at_most_a_shard(
    ray: Any, one: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = facts(one.recommend(**QUERY))
    with sharded(one, tmp_path) as (many, _):
        taken = fill(ray)
        assert facts(many.recommend(**QUERY)) == expected
        monkeypatch.setattr(Connections, "take", lambda *_: None)
        start = time.monotonic()
        try:
            answer = many.recommend(**QUERY)
            assert facts(answer) == expected or answer.missing_shards
        except ShardLost:
            pass  # says which shards
        assert time.monotonic() - start < 20 * PATIENCE
        taken.clear()
        wait_for(many, QUERY, expected)


def test_a_full_object_store_and_workers_that_stand_still_change_no_byte_of_what_is_embedded(
    ray: Any, engine: Engine, tmp_path: Path
) -> None:
    lines = [json.dumps({"id": f"p{row}", "text": f"red shoe {row}"}) for row in range(4 * CHUNK)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    expected, _ = index_shards(engine, tmp_path / "in.jsonl", tmp_path / "many", SHARDS, OneProcess(engine))
    content = files_of_catalogue(expected.folder)
    expected.folder.rename(tmp_path / "expected")
    stopped: list[int] = []

    def stop(done: int) -> None:
        stopped.extend(processes_named(b"ray::MapWorker"))
        for process in stopped:
            stop_process(process)
        threading.Timer(STILL, go_on).start()

    def go_on() -> None:
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    taken = fill(ray)
    begin = time.monotonic()
    executor = InterruptedExecutor(2, 1, interrupt=stop)
    sharded, failures = index_shards(engine, tmp_path / "in.jsonl", tmp_path / "many", SHARDS, executor)
    assert taken and len(stopped) == 2 and time.monotonic() - begin > STILL
    assert failures == [] and files_of_catalogue(sharded.folder) == content


def fill(ray: Any) -> list[Any]:
    """References to objects that leave no room in the object store."""
    taken = []
    size = STORE // 3
    while size > 50_000:
        try:
            taken.append(ray.put(bytes(size)))
        except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError):
            size //= 8
    return taken


def test_a_shard_that_stands_still_is_left_out_and_back_when_it_goes_on(
    ray: Any, one: Recommender, tmp_path: Path
) -> None:
    expected = facts(one.recommend("red shoe", k=20))
    with sharded(one, tmp_path) as (many, processes):
        assert facts(many.recommend("red shoe", k=20)) == expected
        with stopped(processes[:1]):
            start = time.monotonic()
            partial = many.recommend("red shoe", k=20)
            assert PATIENCE - 0.5 < time.monotonic() - start < 10 * PATIENCE
            assert len(partial.missing_shards) == 1 and len(partial) == 20
        wait_for(many, {"text": "red shoe", "k": 20}, expected)


def test_a_replica_answers_for_one_that_stands_still(ray: Any, one: Recommender, tmp_path: Path) -> None:
    expected = facts(one.recommend("red shoe", k=20))
    with sharded(one, tmp_path, replicas=2) as (many, processes), stopped(processes[:1]):
        start = time.monotonic()
        assert all(facts(many.recommend("red shoe", k=20)) == expected for _ in range(8))
        assert time.monotonic() - start < 2 * PATIENCE  # one query waited for it, and no other


def actors() -> set[int]:
    """The processes of actors of shards that this process or its children started."""
    return set(processes_named(b"ray::ShardActor"))


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    assert processes, "expected processes of actors"
    for process in processes:
        stop_process(process)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def wait_for(many: ShardedRecommender, query: dict[str, Any], expected: Any) -> None:
    """Ask until the answer is whole again."""
    deadline = time.monotonic() + 60
    while True:
        with suppress(ShardLost):
            if facts(many.recommend(**query)) == expected:
                return
        assert time.monotonic() < deadline, "expected the same answers again within a minute"
        time.sleep(0.1)
