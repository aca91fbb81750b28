"""The simulation of `clipshelf plan` held against small clusters that are measured.

A cluster is what a plan describes, at its smallest: one process embeds queries and merges answers, and shards search,
each in an actor of Ray with one thread. All of it runs on this machine. As machines of a cluster, the process and the
actors have CPUs of their own, as far as there are enough: the process has the first, and shards share the others. A
thread of the process sends the queries, whether or not those before have been answered.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf import Engine, MissingExtra
from clipshelf.plan.queues import Cluster, simulate
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.ray_runtime import connected, load_ray
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.shards import Method, Shards
from clipshelf.scale.writing import split
from clipshelf.types import DoubleArray

from clipshelf_bench.bench import Bench
from clipshelf_bench.datasets.clustered import WORDS, clustered_catalogue
from clipshelf_bench.tables import Table, TableRow

_SHARDS = (1, 2)
_PRODUCTS, _PRODUCTS_QUICK = 100_000, 10_000
_LOADS = (0.3, 0.5, 0.7)  # share of the time that the shards are busy, or the process where it is busier
_PERCENTILES = (50, 99)
_QUERIES, _QUERIES_QUICK = 800, 50  # of a load
_ALONE, _ALONE_QUICK = 200, 30  # that are sent one by one
_UNCOUNTED = 20
_WAITING = 64  # queries in progress, the most


def plan_queues(bench: Bench) -> list[Table]:
    """Response times of a small cluster under Poisson arrivals beside those that `clipshelf plan` simulates."""
    try:
        load_ray()
    except MissingExtra as error:
        return [Table("plan-queues", "Simulated queues", (), [], skipped={"ray": str(error)})]
    count = _PRODUCTS_QUICK if bench.quick else _PRODUCTS
    rows: list[TableRow] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipshelf-bench-")))
        engine = Engine.load(threads=1)
        catalogue = clustered_catalogue(engine, count)
        stack.enter_context(connected(None))
        for number in _SHARDS:
            bench.notify(f"opening {number} shards")
            shards = split(catalogue, folder / f"shards-{number}", number)
            with closing(RayShards(shards, cpus=0.01)) as actors, _separate_cpus():
                rows += load_rows(
                    engine,
                    shards,
                    actors,
                    alone=_ALONE_QUICK if bench.quick else _ALONE,
                    queries=_QUERIES_QUICK if bench.quick else _QUERIES,
                    notify=bench.notify,
                )
    return [
        Table(
            "plan-queues",
            f"Queues before shards of {count:,} products, measured and simulated",
            ("case", "per_second", *(name for percent in _PERCENTILES for name in _columns(percent))),
            rows,
            [
                "Queries of one text at random times (Poisson). The case has the number of shards, and the share of "
                "the time that the busier of shards and front works. The simulation is given what single queries took, "
                "one after the other, in each shard and in the process before them. Ratios are measured over simulated."
            ],
        )
    ]


@contextmanager
def _separate_cpus() -> Iterator[None]:
    """Give this process the first CPU that it may use, and actors the others, while the block runs.

    Nothing is changed where there is one CPU alone, or where the system has no such setting.
    """
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cpus) < 2:
        yield
        return
    for position, folder in enumerate(_actors()):
        _pin(folder, {cpus[1 + position % (len(cpus) - 1)]})
    _pin(Path("/proc/self"), {cpus[0]})
    try:
        yield
    finally:
        _pin(Path("/proc/self"), set(cpus))


def _actors() -> list[Path]:
    """The folders in /proc of the shards' actors below this process."""
    parents: dict[int, int] = {}
    actors = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::ShardActor"):
                actors.append(folder)

    def is_below(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_below(parents[pid]))

    return [folder for folder in actors if is_below(int(folder.name))]


def _pin(folder: Path, cpus: Set[int]) -> None:
    """Let all threads of a process run on some CPUs only; those that it starts later do as well."""
    for thread in (folder / "task").iterdir():
        with suppress(OSError):  # it has ended
            os.sched_setaffinity(int(thread.name), cpus)


class TimedShards:
    """Calls shards, each in a thread of its own, and notes how long their searches take.

    - `shards`, `count`: the shards and their number.
    """

    def __init__(self, shards: Shards, count: int) -> None:
        self._shards = shards
        self._threads = ThreadPoolExecutor(count)
        self.searches: list[list[float]] = []  # seconds of each shard

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on shards."""
        calls = [self._threads.submit(self._call, method, number, each) for number, each in arguments.items()]
        results = [call.result() for call in calls]
        if method == "search":
            self.searches.append([seconds for _, seconds in results])
        return {number: answer for answers, _ in results for number, answer in answers.items()}

    def close(self) -> None:
        """End the threads; the shards stay."""
        self._threads.shutdown()

    def _call(self, method: Method, number: int, arguments: Sequence[Any]) -> tuple[dict[int, Any], float]:
        started = time.perf_counter()
        answers = self._shards.call(method, {number: arguments})
        return answers, time.perf_counter() - started


def load_rows(
    engine: Engine,
    catalogue: ShardedCatalogue,
    shards: Shards,
    *,
    alone: int,
    queries: int,
    notify: Callable[[str], object],
) -> list[TableRow]:
    """Measured and simulated response times of all loads.

    - `alone`, `queries`: the number of queries that are sent one after the other, and of each load.
    - `notify`: called with each rate.
    """
    with closing(TimedShards(shards, catalogue.shards)) as timed:
        seconds = _alone(ShardedRecommender(engine, catalogue, timed), alone)
    searches = np.array(timed.searches[-alone:])
    embeddings, search = seconds - searches.max(axis=1), float(np.median(searches))
    cluster = Cluster(embedders=1, shards=catalogue.shards, replicas=1, search=search, overhead=0.0)
    jitter = (searches / search).ravel().tolist()
    recommender = ShardedRecommender(engine, catalogue, shards)
    most = 1 / max(searches.mean(), embeddings.mean())
    rows = []
    for number, load in enumerate(_LOADS):
        rate = load * float(most)
        notify(f"{rate:.0f} queries a second")
        measured = _loaded(recommender, rate, queries, number)
        simulated = simulate(cluster, rate, embeddings.tolist(), jitter)
        rows.append(_row(f"{catalogue.shards} shards, {load:.0%}", rate, measured, simulated))
    return rows


def _alone(recommender: ShardedRecommender, count: int) -> DoubleArray:
    """Seconds (n,) of queries that are sent one after the other."""
    times = []
    for number in range(count + _UNCOUNTED):
        started = time.perf_counter()
        recommender.recommend(_text(number))
        times.append(time.perf_counter() - started)
    return np.array(times[_UNCOUNTED:])


def _loaded(recommender: ShardedRecommender, rate: float, count: int, seed: int) -> DoubleArray:
    """Seconds (n,) from the time at which each query was due until its answer, at a rate of queries in a second."""
    due = np.random.default_rng(seed).exponential(1 / rate, count).cumsum()

    def ask(number: int, due_at: float) -> float:
        recommender.recommend(_text(number))
        return time.perf_counter() - due_at

    with ThreadPoolExecutor(_WAITING) as threads:
        began = time.perf_counter()
        answers = []
        for number, after in enumerate(due.tolist()):
            time.sleep(max(0.0, began + after - time.perf_counter()))
            answers.append(threads.submit(ask, number, began + after))
        return np.array([answer.result() for answer in answers])[count // 10 :]


def _text(number: int) -> str:
    return f"{WORDS[number % len(WORDS)]} {number}"


def _row(case: str, rate: float, measured: DoubleArray, simulated: DoubleArray) -> TableRow:
    row: dict[str, object] = {"case": case, "contender": "clipshelf", "per_second": rate}
    for percent in _PERCENTILES:
        found, expected = (float(np.percentile(times, percent)) for times in (measured, simulated))
        row |= zip(_columns(percent), (1e3 * found, 1e3 * expected, found / expected), strict=True)
    return row


def _columns(percent: int) -> tuple[str, str, str]:
    return f"p{percent}_ms", f"simulated_p{percent}_ms", f"p{percent}_ratio"
