"""Shards on two hosts, whose link is cut, and whose second node stands still.

    python tests/faults/rank_on_two_hosts.py

The hosts are network namespaces, which need root. `test_scale_two_hosts.py` runs this and `embed_on_two_hosts.py`.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf import Engine, Recommender
from clipshelf.scale.catalogue import shards_of
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.watched_shards import WatchedShards
from clipshelf.scale.writing import split

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import tiny
from support.processes import stop_process
from support.same_answers import DIM, facts, union
from support.two_hosts import TwoHosts, reason_to_skip

SHARDS, CPUS = 4, 4
PRODUCTS = 400
PATIENCE = 2.0  # seconds
QUERY: dict[str, Any] = {"text": "red shoe", "k": 300}


@dataclass(frozen=True)
class Cluster:
    """Two hosts with a node each, and the process of the second one's raylet."""

    hosts: TwoHosts
    ray: Any
    raylet: int


@contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """A node on each host, and Ray connected to them."""
    hosts = TwoHosts(folder)
    with hosts.entered():
        hosts.start_node(0, CPUS)
        raylet = hosts.start_node(1, CPUS)
        with hosts.connected() as ray:
            wait_until(lambda: len(alive(ray)) == 2, "two nodes")
            yield Cluster(hosts, ray, raylet)


def alive(ray: Any) -> list[str]:
    """The addresses of the nodes that Ray does not know as lost."""
    return [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]


def wait_until(condition: Callable[[], bool], expected: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"expected {expected} within two minutes"
        time.sleep(0.05)


def check(cluster: Cluster, folder: Path) -> None:
    engine = Engine.load(tiny.write_artifact(folder / "model", dim=DIM), threads=1)
    one = Recommender(engine, union(engine, PRODUCTS, seed=9))
    catalogue = split(one.catalogue, folder / "shards", SHARDS)
    # Two shards are on each host: no more have room.
    shards = WatchedShards(RayShards(catalogue, cpus=CPUS / 2, patience=PATIENCE))
    many = ShardedRecommender(engine, catalogue, shards)
    begin = time.monotonic()
    check_a_raylet_that_stands_still_costs_no_answer(cluster, one, many)
    print(f"answers are whole while a raylet stands still: {time.monotonic() - begin:.1f} s")
    begin = time.monotonic()
    check_a_cut_link_makes_answers_partial_until_it_is_back(cluster, one, many)
    print(f"answers are partial while the link is cut, and whole again: {time.monotonic() - begin:.1f} s")
    shards.close()


@contextmanager
def load(many: ShardedRecommender) -> Iterator[list[Any]]:
    """Two clients that ask without a pause; yields their answers, as they come."""
    stop = threading.Event()
    answers: list[Any] = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(many.recommend(**QUERY))

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(ask) for _ in range(2)]
        try:
            yield answers
        finally:
            stop.set()
    for client in clients:
        client.result()


def check_a_cut_link_makes_answers_partial_until_it_is_back(
    cluster: Cluster, one: Recommender, many: ShardedRecommender
) -> None:
    ranking = [item.id for item in one.recommend(**QUERY | {"k": PRODUCTS})]
    with load(many) as answers:
        wait_until(lambda: len(answers) > 20, "answers")
        cluster.hosts.cut()
        wait_until(lambda: bool(answers[-1].missing_shards), "partial answers")
        begin, count = time.monotonic(), len(answers)
        wait_until(lambda: len(answers) > count + 20, "more answers")
        assert time.monotonic() - begin < 10 * PATIENCE  # queries do not wait for what is lost
        cluster.hosts.restore()
        wait_until(lambda: not answers[-1].missing_shards, "whole answers")
        count = len(answers)
        wait_until(lambda: len(answers) > count + 20, "more answers")
    lost = {answer.missing_shards for answer in answers} - {()}
    assert len(set().union(*lost)) == 2, "expected the two shards of one host"
    by_missing: dict[tuple[int, ...], Any] = {(): facts(one.recommend(**QUERY))}
    for answer in answers:
        assert facts(answer) == by_missing.setdefault(answer.missing_shards, facts(answer))
        present = ~np.isin(shards_of(ranking, SHARDS), answer.missing_shards)
        assert [item.id for item in answer] == np.array(ranking)[present].tolist()[: QUERY["k"]]


def check_a_raylet_that_stands_still_costs_no_answer(
    cluster: Cluster, one: Recommender, many: ShardedRecommender
) -> None:
    expected = facts(one.recommend(**QUERY))
    with load(many) as answers, stopped(cluster.raylet):
        count = len(answers)
        wait_until(lambda: len(answers) > count + 200, "answers")
    assert all(facts(answer) == expected for answer in answers)


@contextmanager
def stopped(process: int) -> Iterator[None]:
    stop_process(process)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def main() -> int:
    if reason := reason_to_skip():
        print(reason)
        return 1
    with tempfile.TemporaryDirectory() as name, started(Path(name)) as cluster:
        check(cluster, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
