"""Exact top 10 among 1e4 to 1e6 products, with recall against the exact answer beside each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.arrays import FloatArray, Rows
from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.base import TOP_K
from clipshelf_bench.contenders.clipshelf_rank import ClipshelfRank, ClipshelfRankFloat
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceOptions, RaceResult, race
from clipshelf_bench.stats import recall, time_columns
from clipshelf_bench.tables import Plot, Table, TableRow

RANK_DIM = 512
OUR_RANKERS = (ClipshelfRank.name, ClipshelfRankFloat.name)
_COLUMNS = ("products", "queries", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "recall")
_QUERIES = 64
_QUERY_SEED = 5
# A turn among a million products is long, so fewer rounds suffice.
_MAX_ROUNDS = 7


def rank(bench: Bench) -> list[Table]:
    """One query and 64 at once among 1e4, 1e5 and (not when quick) 1e6 products of 512 dimensions."""
    sizes = (10_000, 100_000) if bench.quick else (10_000, 100_000, 1_000_000)
    rows: list[TableRow] = []
    skipped: dict[str, str] = {}
    options = replace(bench.options, rounds=min(bench.options.rounds, _MAX_ROUNDS), runs=1)
    for size in sizes:
        cases = [rank_case(bench, size), rank_case(bench, size, _QUERIES)]
        result = rank_race(bench, size, cases, options)
        exact = _exact_rows(bench.matrix_file(size, RANK_DIM), cases[0].input)
        rows += [row for case in cases for row in _case_rows(result, case, size, exact)]
        skipped |= result.skipped
    plots = [
        Plot(f"rank-{n}", title, "line", "products", "p50_ms", "contender", log=True, where={"queries": n})
        for n, title in ((1, "One query, top 10"), (_QUERIES, f"{_QUERIES} queries at once, top 10"))
    ]
    note = (
        f"{RANK_DIM} dimensions, the best {TOP_K} of each query; recall: share of the exact answer's rows. "
        "ratio: median of clipshelf over median of the contender."
    )
    return [Table("rank", "Ranking", _COLUMNS, rows, [note], skipped, plots)]


def rank_case(bench: Bench, size: int, queries: int = 1) -> Case:
    """Queries among `size` products, `queries` of them in one call."""
    path = bench.folder / f"queries-{size}.npy"
    if not path.is_file():
        np.save(path, _noisy_queries(bench.matrix_file(size, RANK_DIM)))
    return Case(f"rank {queries} among {size}", "rank", path, queries)


def rank_race(
    bench: Bench,
    size: int,
    cases: Sequence[Case],
    options: RaceOptions,
    names: Sequence[str] | None = None,
    *,
    save: bool = True,
) -> RaceResult:
    """Race the ranking contenders.

    - `bench`: the run.
    - `size`: number of products.
    - `cases`: what to measure, from `rank_case`.
    - `options`: how long to measure.
    - `names`: contenders that take part; None for all.
    - `save`: whether to save their answers to all queries.
    """
    entries, skipped = bench.entries("rank", matrix=bench.matrix_file(size, RANK_DIM))
    entries = [entry for entry in entries if names is None or entry.name in names]
    result = race(entries, cases, options, bench.folder, bench.notify, save=save)
    result.skipped.update(skipped)
    return result


def _noisy_queries(matrix: Path) -> FloatArray:
    """Rows of the matrix with noise (Q, D): queries that have near neighbours, as real queries do."""
    rows = np.load(matrix, mmap_mode="r")
    products = rows[np.linspace(0, len(rows) - 1, _QUERIES).astype(int)]
    noisy = products + 1.5 * inputs.random_unit_rows(_QUERIES, rows.shape[1], _QUERY_SEED)
    return np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32)


def _exact_rows(matrix: Path, queries: Path) -> Rows:
    """The best rows (Q, k) of each query, in no order."""
    scores = np.load(queries) @ np.load(matrix).T
    best = np.argpartition(-scores, TOP_K, axis=1)[:, :TOP_K]
    return np.asarray(best, np.int64)


def _case_rows(result: RaceResult, case: Case, size: int, exact: Rows) -> list[TableRow]:
    """A row per contender of a case, fastest first."""
    samples, outputs = result.samples[case.name], result.outputs[case.name]
    ours = next((samples[name] for name in OUR_RANKERS if name in samples), None)
    rows: list[dict[str, Any]] = [
        {"case": f"{size} products, {case.batch} queries", "products": size, "queries": case.batch, "contender": name}
        | time_columns(rounds, ours)
        | {"recall": recall(exact, np.load(outputs[name]))}
        for name, rounds in samples.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"]))
