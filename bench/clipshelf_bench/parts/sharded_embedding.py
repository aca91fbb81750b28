"""What embedding a catalogue on Ray costs beside one process and a plain pool of processes."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from clipshelf import Engine, MissingExtra, ProductFields
from clipshelf.runtime.cpus import available_cpus
from clipshelf.scale.chunks import CHUNK
from clipshelf.scale.index_plan import Plan
from clipshelf.scale.indexing import OneProcess
from clipshelf.scale.pieces import pieces_of
from clipshelf.scale.ray_indexing import RayExecutor
from clipshelf.scale.ray_runtime import connected, load_ray_data

from clipshelf_bench.bench import Bench
from clipshelf_bench.datasets.clustered import WORDS
from clipshelf_bench.tables import Table, TableRow

_CHUNKS, _CHUNKS_QUICK = 40, 6
_ROUNDS = 3


def sharded_embedding(bench: Bench) -> list[Table]:
    """Rates of embedding texts by one process, by pools of processes, and by workers on Ray, of one thread each."""
    try:
        load_ray_data()
    except MissingExtra as error:
        return [Table("sharded-embedding", "Embedding on Ray", (), [], skipped={"ray": str(error)})]
    chunks = _CHUNKS_QUICK if bench.quick else _CHUNKS
    with tempfile.TemporaryDirectory(prefix="clipshelf-bench-") as name:
        folder = Path(name)
        engine = Engine.load(threads=1)
        source = _source(folder / "source", chunks)
        with connected(None):
            rows = _rows(engine, source, folder, 1 if bench.quick else _ROUNDS)
    return [
        Table(
            "sharded-embedding",
            f"Embedding {chunks * CHUNK:,} texts",
            ("contender", "workers", "seconds", "start_s", "products_per_s", "of_pool"),
            rows,
            [
                "Workers have one engine of one thread each; medians. Rates are those after the first chunk, which "
                "ends the start of workers and their engines. `of_pool` compares with the pool. Ray runs already; on "
                "Ray, files are read in a process of its own."
            ],
        )
    ]


def _rows(engine: Engine, source: Path, folder: Path, rounds: int) -> list[TableRow]:
    """Medians of the ways to embed, which run the same steps in turn."""
    workers = available_cpus()
    ways: dict[tuple[str, int], Callable[[Plan], Iterable[int]]] = {
        ("one process", 1): OneProcess(engine).embed,
        ("pool", workers): _Pool(workers).embed,
        ("Ray", workers): RayExecutor(workers, 1).embed,
    }
    runs: dict[tuple[str, int], list[tuple[float, float, float]]] = {way: [] for way in ways}
    plans = _plans(engine, source, folder)
    for _ in range(rounds):
        for way, embed in ways.items():
            runs[way].append(_run(embed, next(plans)))
    medians = {way: tuple(map(median, zip(*each, strict=True))) for way, each in runs.items()}
    return [
        {
            "case": "embed",
            "contender": name,
            "workers": workers,
            "seconds": seconds,
            "start_s": start,
            "products_per_s": rate,
            "of_pool": rate / medians["pool", available_cpus()][2],
        }
        for (name, workers), (seconds, start, rate) in medians.items()
    ]


def _run(embed: Callable[[Plan], Iterable[int]], plan: Plan) -> tuple[float, float, float]:
    """Seconds in all, seconds until the first chunk, and products a second after it."""
    started = time.perf_counter()
    times, counts = [], []
    for count in embed(plan):
        times.append(time.perf_counter() - started)
        counts.append(count)
    return times[-1], times[0], sum(counts[1:]) / (times[-1] - times[0])


class _Pool:
    """A plain pool of processes, which open their engines as workers of Ray do."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def embed(self, plan: Plan) -> Iterator[int]:
        """Embed all chunks, and yield the number of products of each."""
        with multiprocessing.get_context("spawn").Pool(self._workers, _open_engine) as pool:
            jobs = [(plan, number) for number in range(len(plan.pieces))]
            for counts in pool.imap_unordered(_embed_piece, jobs):
                yield from counts


_ENGINES: list[Engine] = []


def _open_engine() -> None:
    _ENGINES.append(Engine.load(threads=1))


def _embed_piece(job: tuple[Plan, int]) -> list[int]:
    plan, number = job
    return [plan.embed(_ENGINES[0], chunk) for chunk in plan.chunks(number)]


def _plans(engine: Engine, source: Path, folder: Path) -> Iterator[Plan]:
    """Plans of the same work, each in a folder of its own."""
    pieces = tuple(pieces_of(str(source)))
    for number in itertools.count():
        target = folder / f"run-{number}"
        plan = Plan(
            target,
            1,
            1,
            None,
            engine.fingerprint,
            engine.dim,
            pieces,
            source.parent,
            ProductFields(),
            keep_text=False,
            limits=engine.image_limits,
        )
        plan.building.mkdir(parents=True)
        yield plan


def _source(folder: Path, chunks: int) -> Path:
    """Files of a chunk each, of products with texts that differ."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for part in range(chunks):
        rows = range(part * CHUNK, (part + 1) * CHUNK)
        lines = [json.dumps({"id": f"p{row}", "text": " ".join(rng.choice(WORDS, 8)) + f" {row}"}) for row in rows]
        (folder / f"part-{part:03}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
