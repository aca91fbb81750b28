"""What shards cost on one machine: ranking by actors against one recommender, embedding on Ray against one process."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from clipshelf import Catalogue, Engine, MissingExtra, ProductFields, Recommender
from clipshelf.catalogue.contents import contents_of_rows
from clipshelf.scale.indexing import OneProcess, Plan
from clipshelf.scale.pieces import pieces_of
from clipshelf.scale.ray_indexing import RayExecutor
from clipshelf.scale.ray_runtime import connected, load_ray_data
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split

from clipshelf_bench.bench import Bench
from clipshelf_bench.tables import Table, TableRow

_SHARDS = (1, 2, 4)
_PRODUCTS, _PRODUCTS_QUICK = 100_000, 10_000
_QUERIES, _QUERIES_QUICK = 60, 10
_EMBEDDED, _EMBEDDED_QUICK = 8 * 1024, 2 * 1024
_EMBEDDING_ROUNDS = 3
_PIECES = 4
_WORDS = ("red", "green", "blue", "shoe", "shirt", "watch", "warm", "light", "wool", "boot")


def sharded(bench: Bench) -> list[Table]:
    """Ranking with 1, 2 and 4 shards in actors of Ray, and rates of embedding; nothing without Ray."""
    try:
        load_ray_data()
    except MissingExtra as error:
        return [Table("sharded", "Shards", (), [], skipped={"ray": str(error)})]
    with tempfile.TemporaryDirectory(prefix="clipshelf-bench-") as name:
        folder = Path(name)
        engine = Engine.load(threads=1)
        catalogue = _catalogue(engine, _PRODUCTS_QUICK if bench.quick else _PRODUCTS)
        source = _source(folder / "source", _EMBEDDED_QUICK if bench.quick else _EMBEDDED)
        with connected(None):
            ranking = _rank(engine, catalogue, folder, _QUERIES_QUICK if bench.quick else _QUERIES)
            embedding = _embed(engine, source, folder, 1 if bench.quick else _EMBEDDING_ROUNDS)
    return [
        Table(
            "sharded",
            f"Ranking {len(catalogue):,} products in shards",
            ("contender", "p50_ms", "more_ms"),
            ranking,
            ["One like, 10 products. All on this machine, one thread a search; queries go to the contenders in turn."],
        ),
        Table(
            "sharded",
            "Embedding texts",
            ("contender", "products_per_s", "of_one_process"),
            embedding,
            ["One engine of one thread each; medians. Ray runs already, its workers and their engines start within."],
        ),
    ]


def _rank(engine: Engine, catalogue: Catalogue, folder: Path, queries: int) -> list[TableRow]:
    """Medians of one recommender and of shards, asked in turn."""
    one = Recommender(engine, catalogue)
    contenders: dict[str, Any] = {"one recommender": one}
    opened: list[RayShards] = []
    for shards in _SHARDS:
        parts = split(catalogue, folder / f"shards-{shards}", shards)
        opened.append(RayShards(parts, cpus=0.01))
        contenders[f"{shards} shards"] = ShardedRecommender(engine, parts, opened[-1])
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(queries + 5):
        for name, recommender in contenders.items():
            started = time.perf_counter()
            recommender.recommend(liked=[str(number * 37)])
            if number >= 5:  # the first ones open what is opened on first use
                times[name].append(1e3 * (time.perf_counter() - started))
    for shards_of_contender in opened:
        shards_of_contender.close()
    base = median(times["one recommender"])
    return [
        {"case": "rank", "contender": name, "p50_ms": median(each), "more_ms": median(each) - base}
        for name, each in times.items()
    ]


def _embed(engine: Engine, source: Path, folder: Path, rounds: int) -> list[TableRow]:
    """Rates of embedding the chunks of a source: the same steps, run in three ways in turn."""
    ways: Mapping[str, Callable[[Plan], int]] = {
        "one process": lambda plan: sum(OneProcess(engine).embed(plan)),
        "pool of one process": _embed_in_pool,
        "Ray, one worker": lambda plan: sum(RayExecutor(1, 1).embed(plan)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    plans = _plans(engine, source, folder)
    for _ in range(rounds):
        for name, embed in ways.items():
            plan = next(plans)
            started = time.perf_counter()
            count = embed(plan)
            rates[name].append(count / (time.perf_counter() - started))
    base = median(rates["one process"])
    return [
        {"case": "embed", "contender": name, "products_per_s": median(each), "of_one_process": median(each) / base}
        for name, each in rates.items()
    ]


def _embed_in_pool(plan: Plan) -> int:
    """Embed in a plain pool of one process, which opens its engine as a worker of Ray does."""
    with multiprocessing.get_context("spawn").Pool(1, _open_engine) as pool:
        return sum(pool.imap_unordered(_embed_piece, [(plan, number) for number in range(len(plan.pieces))]))


_ENGINES: list[Engine] = []


def _open_engine() -> None:
    _ENGINES.append(Engine.load(threads=1))


def _embed_piece(job: tuple[Plan, int]) -> int:
    plan, number = job
    return sum(plan.embed(_ENGINES[0], chunk) for chunk in plan.chunks(number))


def _plans(engine: Engine, source: Path, folder: Path) -> Iterator[Plan]:
    """Plans of the same work, each in a folder of its own."""
    pieces = tuple(pieces_of(str(source)))
    for number in itertools.count():
        target = folder / f"run-{number}"
        plan = Plan(target, 1, 1, None, engine.fingerprint, engine.dim, pieces, ProductFields(), keep_text=False)
        plan.building.mkdir(parents=True)
        yield plan


def _catalogue(engine: Engine, count: int) -> Catalogue:
    """Random products of unit sides; ids are positions."""
    sides = np.random.default_rng(0).standard_normal((count, 2, engine.dim))
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    matrix = sides.reshape(count, -1).astype(np.float32)
    return Catalogue(contents_of_rows(matrix), engine.fingerprint, Path())


def _source(folder: Path, count: int) -> Path:
    """Files of products with texts that differ."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for part, rows in enumerate(np.array_split(np.arange(count), _PIECES)):
        lines = [json.dumps({"id": f"p{row}", "text": " ".join(rng.choice(_WORDS, 8)) + f" {row}"}) for row in rows]
        (folder / f"part-{part}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
