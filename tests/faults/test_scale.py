"""Sharded catalogues on a cluster of Ray, several raylets on this machine: what they survive, and with what answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, ProductFields, Recommender, index
from clipshelf.catalogue.contents import contents_of_rows
from clipshelf.errors import ArtifactError, InputError, ShardLost
from clipshelf.model.image_limits import ImageLimits
from clipshelf.scale.chunks import CHUNK
from clipshelf.scale.connections import Connections
from clipshelf.scale.index_plan import Plan
from clipshelf.scale.indexing import OneProcess, index_shards
from clipshelf.scale.pieces import pieces_of
from clipshelf.scale.ray_indexing import RayExecutor
from clipshelf.scale.ray_runtime import load_ray
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import tiny
from support.interrupted_embedding import InterruptedExecutor, files_of_catalogue
from support.same_answers import DIM, FIELD_QUERIES, QUERIES, assert_same, union

pytest.importorskip("ray", reason="needs Ray: pip install 'clipshelf[scale]'")
pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'clipshelf[scale]'")

SHARDS, PRODUCTS = 2, 16 * CHUNK
# More than the machine has: the readers of Ray Data would wait behind the actors for ever.
CPUS = 4


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_artifact(tmp_path_factory.mktemp("artifact"))


@pytest.fixture(scope="module")
def engine(artifact: Path) -> Engine:
    return Engine.load(artifact, threads=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head node, and a way to add others."""
    ray = load_ray()
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": CPUS, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products whose texts differ, in files that are read apart."""
    folder = tmp_path_factory.mktemp("source")
    words = ["red", "green", "blue", "shoe", "shirt", "watch", "warm"]
    for part in range(2):
        rows = range(part * PRODUCTS // 2, (part + 1) * PRODUCTS // 2)
        lines = [
            json.dumps(
                {
                    "id": f"p{row}",
                    "text": f"{words[row % 7]} {words[row // 7 % 7]} {row}",
                    "price": row % 50,
                    "size": {"eu": row % 9},
                }
            )
            for row in rows
        ]
        (folder / f"part-{part}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_raylet_that_is_killed_while_it_embeds_changes_no_byte(
    cluster: Any, engine: Engine, source: Path, tmp_path: Path
) -> None:
    # Both catalogues are built at the same place, since a catalogue records paths as seen from itself.
    expected, _ = index_shards(engine, source, tmp_path / "many", SHARDS, OneProcess(engine))
    whole = files_of_catalogue(expected.folder)
    expected.folder.rename(tmp_path / "expected")
    node = cluster.add_node(num_cpus=CPUS)  # each node has room for one worker
    cluster.wait_for_nodes()

    def kill(done: int) -> None:
        assert done < PRODUCTS // CHUNK, "expected work that is left"
        cluster.remove_node(node, allow_graceful=False)

    executor = InterruptedExecutor(2, CPUS - 1, interrupt=kill)
    sharded, failures = index_shards(engine, source, tmp_path / "many", SHARDS, executor)
    assert failures == [] and files_of_catalogue(sharded.folder) == whole


def test_an_error_of_a_task_or_worker_is_told_as_it_is(
    cluster: Any, engine: Engine, source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"^\S+: expected a column named rate, found id, text, price"):
        fields = ProductFields(columns={"rate": "number"})
        index_shards(engine, source, tmp_path / "many", SHARDS, RayExecutor(1, 1), fields=fields)
    (tmp_path / "bad.csv").write_text("id\na\n")
    with pytest.raises(InputError, match=r"^\S+bad.csv: expected columns, one named text or image, found id"):
        index_shards(engine, tmp_path / "bad.csv", tmp_path / "many", SHARDS, RayExecutor(1, 1))
    pieces = tuple(pieces_of(str(source)))
    model, fields = (engine.fingerprint, engine.dim), ProductFields()
    plan = Plan(
        tmp_path, 1, SHARDS, None, *model, pieces, tmp_path, fields, keep_text=False, limits=engine.image_limits
    )
    with pytest.raises(ArtifactError, match=r"^/nowhere: expected an artifact folder"):
        list(RayExecutor(1, 1).embed(replace(plan, artifact="/nowhere")))
    gone = replace(pieces[0], file=replace(pieces[0].file, path=str(tmp_path / "gone.jsonl")))
    with pytest.raises(InputError, match=r"^\S+gone.jsonl: expected JSON Lines, found: \[Errno 2\]"):
        list(RayExecutor(1, 1).embed(replace(plan, pieces=(gone,))))
    assert "Traceback" not in "".join(capfd.readouterr())


def test_workers_have_the_limits_on_pictures_of_the_engine(cluster: Any, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,text,image\na,red,\nb,red,photo.png\n")
    Image.fromarray(tiny.picture("red")).save(tmp_path / "photo.png")
    engine = Engine.load(artifact, limits=ImageLimits(pixels=10))
    sharded, failures = index_shards(engine, tmp_path / "products.csv", tmp_path / "many", SHARDS, RayExecutor(1, 1))
    assert len(sharded) == 1 and [failure.source for failure in failures] == ["b"]
    assert "more than the limit of 10" in failures[0].reason


def test_a_shard_that_is_killed_under_load_costs_retried_queries_and_no_answer(
    cluster: Any, engine: Engine, source: Path, tmp_path: Path
) -> None:
    one = Recommender(engine, index(engine, source / "part-0.jsonl", tmp_path / "one"))
    sharded = split(one.catalogue, tmp_path / "many", SHARDS)
    shards = RayShards(sharded, replicas=1, cpus=0.5, patience=60.0)
    many = ShardedRecommender(engine, sharded, shards)
    # An actor that is started again has lost the quantiles of the field, which it was sent.
    query: dict[str, Any] = {"text": "red shoe", "k": 20, "boost": {"size.eu": 0.3}}
    expected = _facts(one.recommend(**query))
    stop = threading.Event()
    answers: list[Any] = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(many.recommend(**query))

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    ray = load_ray()
    for shard in range(SHARDS):
        before = len(answers)
        ray.kill(shards.actors[shard][0], no_restart=False)
        _wait_until(lambda before=before: len(answers) > before + 4)  # type: ignore[misc]
    stop.set()
    for asker in askers:
        asker.join(60)
    shards.close()
    assert len(answers) > 8
    assert all(answer.missing_shards == () and _facts(answer) == expected for answer in answers)


def test_a_shard_that_does_not_come_back_makes_answers_partial_or_is_replaced_by_its_replica(
    cluster: Any, engine: Engine, source: Path, tmp_path: Path
) -> None:
    one = Recommender(engine, index(engine, source / "part-0.jsonl", tmp_path / "one"))
    sharded = split(one.catalogue, tmp_path / "many", SHARDS)
    shards = RayShards(sharded, replicas=2, cpus=0.5, patience=3.0)
    many = ShardedRecommender(engine, sharded, shards)
    expected = _facts(one.recommend("blue watch"))
    ray = load_ray()
    ray.kill(shards.actors[1][0])
    assert all(_facts(many.recommend("blue watch")) == expected for _ in range(3))
    ray.kill(shards.actors[1][1])
    with suppress(ShardLost):  # its process answers until it has ended
        many.recommend("blue watch", k=PRODUCTS)
    partial = many.recommend("blue watch", k=PRODUCTS)
    assert partial.missing_shards == (1,) and 0 < len(partial) < PRODUCTS // 2
    shards.close()


# Parts of queries that go together in any number. The catalogue has an index of words, which every text looks into.
PARTS: dict[str, list[dict[str, Any]]] = {
    "signals": [{"text": "red dm-42"}, {"liked": ["p3", "p17"]}, {"text": "warm shoe", "disliked": ["p5"]}],
    "boosts": [
        {},
        {"boost": {"price": -0.7, "sold": 0.3}},
        {"fresh": {"added": "30d"}, "now": "2026-06-01"},
        {"boost": {"size.eu": 0.5}},
    ],
    "groups": [{}, {"group_by": "family"}, {"group_by": "price", "group_members": 2}, {"group_by": "size.us"}],
    "filters": [{}, {"where": "price<20"}, {"where": "sold=true and size.eu>40", "exclude": ["p4"]}],
    "counts": [{}, {"k": 3}, {"k": 40}, {"min_relevance": 0.4}],
}


@pytest.fixture(scope="module")
def pair(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recommender, ShardedRecommender]]:
    """A recommender of one catalogue, and one of its shards in actors."""
    narrow = Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("narrow"), dim=DIM), threads=1)
    catalogue = union(narrow, 150, seed=6)
    shards = RayShards(sharded := split(catalogue, tmp_path_factory.mktemp("pair") / "many", 3), cpus=0.1, patience=60)
    yield Recommender(narrow, catalogue), ShardedRecommender(narrow, sharded, shards)
    shards.close()


def test_actors_have_the_answers_of_one_catalogue(pair: tuple[Recommender, ShardedRecommender]) -> None:
    assert_same(*pair, [*QUERIES, *FIELD_QUERIES])


@settings(max_examples=60, deadline=None)
@given(parts=st.tuples(*map(st.sampled_from, PARTS.values())))
def test_actors_answer_any_query_with_words_boosts_and_groups_as_one_catalogue(
    pair: tuple[Recommender, ShardedRecommender], parts: tuple[dict[str, Any], ...]
) -> None:
    assert_same(*pair, [{name: value for part in parts for name, value in part.items()}])


def test_answers_are_the_same_where_only_ray_reaches_the_actors(
    pair: tuple[Recommender, ShardedRecommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connections, "take", lambda *_: None)
    assert_same(*pair, QUERIES)


def test_shards_that_are_closed_say_so_and_close_again(
    cluster: Any, engine: Engine, source: Path, tmp_path: Path
) -> None:
    sharded = split(index(engine, [{"id": "a", "text": "red shoe"}], tmp_path / "one"), tmp_path / "many", SHARDS)
    shards = RayShards(sharded, replicas=2, cpus=0.1, patience=20.0)
    calls = ThreadPoolExecutor(1).submit(_call_until_closed, shards)
    _wait_until(lambda: shards.call("find", {0: (["a"],)}) != {})
    shards.close()
    with pytest.raises(ShardLost, match="expected open shards, found that they are closed"):
        calls.result(20)
    shards.close()


def _call_until_closed(shards: RayShards) -> None:
    while True:
        shards.call("find", {0: (["a"],)})


def test_a_slow_method_makes_no_other_call_wait_whichever_way_it_comes(
    cluster: Any, engine: Engine, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All records are read for the column, which takes much longer than a search of one id.
    contents = contents_of_rows(np.tile(np.eye(1, 2 * engine.dim, dtype=np.float32), (60_000, 1)))
    contents = replace(contents, products=[{**product, "size": {"eu": 1}} for product in contents.products])
    sharded = split(Catalogue(contents, engine.fingerprint, Path("/nowhere"), None), tmp_path / "many", 1)
    shards = RayShards(sharded, cpus=0.1, patience=60.0)
    for field in ("size.eu", "size.us"):
        with ThreadPoolExecutor(1) as pool:
            evidence = pool.submit(shards.call, "evidence", {0: (field,)})
            rounds = 0
            while not evidence.done():
                assert shards.call("find", {0: (["1"],)})[0].rows.tolist() == [1]
                rounds += 1
        assert rounds > 3 and set(evidence.result()) == {0}
        monkeypatch.setattr(Connections, "take", lambda *_: None)  # only Ray reaches the actor
    shards.close()


def _facts(answer: Any) -> Any:
    facts = answer.to_dict(explain=True)
    facts.pop("took_ms")
    return facts


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "expected answers within a minute"
        time.sleep(0.02)
