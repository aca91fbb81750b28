"""Shards and workers on a cluster of Ray whose actors and raylets are killed, or stand still, at random times.

    python tests/faults/random_kills.py --seconds 120 --runs 3 --seed 1

First clients ask without a pause for the seconds, then a source is embedded in the runs. What comes is compared to the
bit with what one process makes; the first difference ends the program. It takes minutes, so that it is no test of the
suite.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipshelf import Engine, Recommender
from clipshelf.errors import ShardLost
from clipshelf.scale.catalogue import shards_of
from clipshelf.scale.chunks import CHUNK
from clipshelf.scale.indexing import OneProcess, index_shards
from clipshelf.scale.ray_indexing import RayExecutor
from clipshelf.scale.ray_runtime import load_ray
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.watched_shards import WatchedShards
from clipshelf.scale.writing import split

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import tiny
from support.interrupted_embedding import files_of_catalogue
from support.processes import processes_named
from support.same_answers import DIM, facts, union

SHARDS, REPLICAS, NODES, CPUS = 3, 2, 2, 4
PATIENCE = 2.0  # seconds
PRODUCTS, EMBEDDED = 500, 24 * CHUNK
QUERIES: list[dict[str, Any]] = [
    {"text": "red shoe", "k": 40},
    {"text": "warm shirt", "where": "price<20", "k": 30},
    {"liked": ["p1", "p7"], "disliked": ["p2"], "k": 25},
    {"text": "watch", "boost": {"price": -0.7, "sold": 0.2}, "k": 20},
]


class Disturber:
    """Kills and stops processes of a cluster at random times, and starts nodes again."""

    def __init__(self, cluster: Any, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._cluster = cluster
        self._random = random.Random(seed)
        self._nodes = [cluster.add_node(num_cpus=CPUS) for _ in range(NODES)]

    def disturb(self, actor: bytes, work: Sequence[Future[Any]]) -> None:
        """Disturb raylets and processes whose name begins with `actor` until some work is done.

        Ray starts nodes in the main thread alone, so that work is done in others.
        """
        while wait(work, self._random.uniform(1, 5)).not_done:
            kind = self._random.choice(["actor killed", "actor stopped", "raylet killed", "raylet stopped"])
            if kind == "raylet killed":
                self._cluster.remove_node(self._nodes.pop(self._random.randrange(NODES)), allow_graceful=False)
                self._nodes.append(self._cluster.add_node(num_cpus=CPUS))
            else:
                processes = raylets(self._nodes) if kind == "raylet stopped" else processes_named(actor)
                if not processes:
                    continue
                with suppress(ProcessLookupError):
                    self._strike(self._random.choice(processes), kill=kind == "actor killed")
            self.counts[kind] += 1

    def _strike(self, process: int, *, kill: bool) -> None:
        if kill:
            os.kill(process, signal.SIGKILL)
            return
        os.kill(process, signal.SIGSTOP)
        time.sleep(self._random.uniform(0.5, 4))
        os.kill(process, signal.SIGCONT)


def raylets(nodes: list[Any]) -> list[int]:
    return [info.process.pid for node in nodes for info in node.all_processes["raylet"]]


class Comparison:
    """What one machine answers, and whether answers are that."""

    def __init__(self, one: Recommender) -> None:
        self._whole = [facts(one.recommend(**query)) for query in QUERIES]
        self._rankings = [one.recommend(**query | {"k": PRODUCTS}) for query in QUERIES]

    def check(self, number: int, answer: Any) -> None:
        """Raise ValueError unless an answer is the one of one machine, or the same without products of lost shards."""
        if not answer.missing_shards:
            if facts(answer) != self._whole[number]:
                raise ValueError(f"{QUERIES[number]}: expected {self._whole[number]}, found {facts(answer)}")
            return
        ranking = {item.id: item.score for item in self._rankings[number]}
        items = [(item.id, item.score) for item in answer]
        owners = dict(zip(ranking, shards_of(list(ranking), SHARDS).tolist(), strict=True))
        # A shard that is missing in a count may have answered the search after it.
        present = [id_ for id_ in ranking if owners[id_] not in answer.missing_shards or id_ in dict(items)]
        expected = [(id_, ranking[id_]) for id_ in present[: len(items)]]
        if items != expected or len(items) < min(len(present), QUERIES[number]["k"]):
            raise ValueError(f"{QUERIES[number]}: expected {expected}, found {items} without {answer.missing_shards}")


def rank(one: Recommender, disturber: Disturber, folder: Path, seconds: float) -> None:
    catalogue = split(one.catalogue, folder / "many", SHARDS)
    shards = WatchedShards(RayShards(catalogue, replicas=REPLICAS, cpus=1, patience=PATIENCE))
    many = ShardedRecommender(one.engine, catalogue, shards)
    comparison, counts, times = Comparison(one), Counter[str](), []
    end = time.monotonic() + seconds

    def ask(client: int) -> None:
        chosen = random.Random(client)
        while time.monotonic() < end:
            number, begin = chosen.randrange(len(QUERIES)), time.monotonic()
            try:
                answer = many.recommend(**QUERIES[number])
            except ShardLost:
                counts["refused, of a lost shard"] += 1
            else:
                comparison.check(number, answer)
                counts["partial" if answer.missing_shards else "whole"] += 1
            times.append(time.monotonic() - begin)

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(ask, number) for number in range(2)]
        disturber.disturb(b"ray::ShardActor", clients)
    for client in clients:
        client.result()
    deadline = time.monotonic() + 60
    while many.recommend(**QUERIES[0]).missing_shards and time.monotonic() < deadline:
        time.sleep(0.1)
    comparison.check(0, answer := many.recommend(**QUERIES[0]))
    print(f"ranking for {seconds:g} s: {dict(disturber.counts)}; answers: {dict(counts)}; slowest {max(times):.1f} s")
    print("whole again at the end" if not answer.missing_shards else f"still lost: {answer.missing_shards}")
    shards.close()


def embed(engine: Engine, disturber: Disturber, folder: Path, runs: int) -> None:
    lines = [json.dumps({"id": f"p{row}", "text": f"red shoe {row}"}) for row in range(EMBEDDED)]
    (folder / "in").mkdir()
    for part in range(4):
        (folder / "in" / f"{part}.jsonl").write_text("\n".join(lines[part::4]) + "\n")
    source = folder / "in"
    expected, _ = index_shards(engine, source, folder / "out", SHARDS, OneProcess(engine))
    content = files_of_catalogue(expected.folder)
    for run in range(runs):
        shutil.rmtree(folder / "out")
        disturber.counts.clear()
        begin = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            executor = SlowExecutor(2, CPUS - 1)
            work = pool.submit(index_shards, engine, source, folder / "out", SHARDS, executor)
            disturber.disturb(b"ray::MapWorker", [work])
        sharded, failures = work.result()
        if failures or files_of_catalogue(sharded.folder) != content:
            raise ValueError(f"run {run}: expected the files of one process, found others")
        print(f"embedding, run {run}: same bytes after {time.monotonic() - begin:.0f} s; {dict(disturber.counts)}")


class SlowExecutor(RayExecutor):
    """Embeds on Ray, and takes chunks slowly, so that more can happen meanwhile."""

    def embed(self, plan: Any) -> Iterator[int]:
        for count in super().embed(plan):
            time.sleep(0.3)
            yield count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    ray = load_ray()
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        engine = Engine.load(tiny.write_artifact(folder / "model", dim=DIM), threads=1)
        disturber = Disturber(cluster, args.seed)
        cluster.wait_for_nodes()
        if args.seconds:
            rank(Recommender(engine, union(engine, PRODUCTS, seed=args.seed)), disturber, folder, args.seconds)
        embed(engine, disturber, folder, args.runs)
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
