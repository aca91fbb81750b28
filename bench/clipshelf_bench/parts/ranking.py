"""Exact top-10 among 1e4 to 1e6 products: a race, with recall against the exact answer beside each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.arrays import FloatArray, Rows
from clipshelf_bench.contenders.base import K
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.harness import Heat, Plan, Race, race
from clipshelf_bench.race.stats import columns, recall
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup

DIM = 512
OURS = ("clipshelf-rank", "clipshelf-rank-fp32")
COLUMNS = ("products", "queries", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "recall")
QUERIES = 64
# A million products make long turns, and 64 queries longer ones.
_ROUNDS = 7


def rank(setup: Setup) -> list[Table]:
    """One query and 64 at once among 1e4, 1e5 and (not when quick) 1e6 products of 512 dimensions."""
    sizes = (10_000, 100_000) if setup.quick else (10_000, 100_000, 1_000_000)
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    plan = replace(setup.plan, rounds=min(setup.plan.rounds, _ROUNDS), runs=1)
    for size in sizes:
        heats = [rank_heat(setup, size), rank_heat(setup, size, QUERIES)]
        result = rank_race(setup, size, heats, plan)
        exact = _exact(setup.matrix(size, DIM), heats[0].input)
        rows += [row for heat in heats for row in _rows(result, heat, size, exact)]
        skipped |= result.skipped
    title = "{}, top 10"
    plots = [
        Plot(f"rank-{n}", title.format(name), "line", "products", "p50_ms", "contender", log=True, where={"queries": n})
        for n, name in ((1, "One query"), (QUERIES, f"{QUERIES} queries at once"))
    ]
    note = (
        f"{DIM} dimensions, the best {K} of each query; recall: share of the exact answer's rows. "
        "ratio: median of clipshelf over median of the contender."
    )
    return [Table("rank", "Ranking", COLUMNS, rows, [note], skipped, plots)]


def rank_heat(setup: Setup, size: int, queries: int = 1) -> Heat:
    """The first `queries` of 64 queries among `size` products in one call."""
    path = setup.folder / f"queries-{size}.npy"
    if not path.is_file():
        np.save(path, _queries(setup.matrix(size, DIM)))
    return Heat(f"rank {queries} among {size}", "rank", path, queries)


def rank_race(
    setup: Setup, size: int, heats: Sequence[Heat], plan: Plan, names: Sequence[str] = (), *, save: bool = True
) -> Race:
    """A race of all ranking contenders (or those named) over `size` products."""
    lanes, absent = setup.lanes("rank", matrix=setup.matrix(size, DIM))
    kept = [lane for lane in lanes if not names or lane.name in names]
    result = race(kept, heats, plan, setup.folder, setup.tell, save=save)
    result.skipped.update(absent)
    return result


def _queries(matrix: Path) -> FloatArray:
    """Rows of the matrix with noise: queries that have near neighbours, as real ones do."""
    rows = np.load(matrix, mmap_mode="r")
    picked = rows[np.linspace(0, len(rows) - 1, QUERIES).astype(int)]
    noisy = picked + 1.5 * inputs.unit_rows(QUERIES, rows.shape[1], seed=5)
    return np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32)


def _exact(matrix: Path, queries: Path) -> Rows:
    scores = np.load(queries) @ np.load(matrix).T
    best = np.argpartition(-scores, K, axis=1)[:, :K]
    return np.asarray(best, np.int64)


def _rows(result: Race, heat: Heat, size: int, exact: Rows) -> list[Row]:
    samples, outputs = result.samples[heat.name], result.outputs[heat.name]
    ours = next((samples[name] for name in OURS if name in samples), None)
    rows: list[dict[str, Any]] = [
        {"case": f"{size} products, {heat.batch} queries", "products": size, "queries": heat.batch, "contender": name}
        | columns(rounds, ours)
        | {"recall": recall(exact, np.load(outputs[name]))}
        for name, rounds in samples.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"]))
