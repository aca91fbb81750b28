"""Exact top-10 among 1e4 to 1e6 products: a race, with recall against the exact answer beside each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench import inputs
from clipshelf_bench.arrays import Rows
from clipshelf_bench.contenders.base import K
from clipshelf_bench.harness import Heat, Lane, Plan, Race, race
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import ratio, recall, summarise

DIM = 512
OURS = ("clipshelf-rank", "clipshelf-rank-fp32")
COLUMNS = ("products", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "low", "high", "recall")


def rank(setup: Setup) -> list[Table]:
    """One query among 1e4, 1e5 and (not when quick) 1e6 products of 512 dimensions."""
    sizes = (10_000, 100_000) if setup.quick else (10_000, 100_000, 1_000_000)
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    for size in sizes:
        result, heat, matrix = rank_race(setup, size, setup.plan)
        rows += _rows(result, heat, size, _exact(matrix, heat.input))
        skipped |= {f"{name}, {size} products": reason for name, reason in result.skipped.items()}
    plot = Plot("rank", "One query, top 10", "line", "products", "p50_ms", "contender", log=True)
    note = (
        f"One query, {DIM} dimensions, the best {K}; recall: share of the exact answer's rows. "
        "ratio: median of clipshelf over median of the contender."
    )
    return [Table("rank", "Ranking", COLUMNS, rows, [note], skipped, [plot])]


def rank_race(setup: Setup, size: int, plan: Plan, names: tuple[str, ...] = ()) -> tuple[Race, Heat, Path]:
    """A race of all ranking contenders (or those named) over `size` products."""
    matrix = setup.matrix(size, DIM)
    queries = setup.folder / f"queries-{size}.npy"
    if not queries.is_file():
        np.save(queries, _queries(matrix))
    heat = Heat(f"rank {size}", queries, 1)
    lanes, absent = setup.lanes("rank", matrix=matrix)
    result = race(_named(lanes, names), [heat], plan, setup.folder, setup.tell)
    result.skipped.update(absent)
    return result, heat, matrix


def _named(lanes: list[Lane], names: tuple[str, ...]) -> list[Lane]:
    return [lane for lane in lanes if not names or lane.name in names]


def _queries(matrix: Path, count: int = 32) -> Any:
    """Rows of the matrix with noise: queries that have near neighbours, as real ones do."""
    rows = np.load(matrix, mmap_mode="r")
    picked = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    noisy = picked + 1.5 * inputs.unit_rows(count, rows.shape[1], seed=5)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def _exact(matrix: Path, queries: Path) -> Rows:
    scores = np.load(queries) @ np.load(matrix).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def _rows(result: Race, heat: Heat, size: int, exact: Rows) -> list[Row]:
    samples = result.samples[heat.name]
    ours = next((name for name in OURS if name in samples), None)
    rows = []
    for name, rounds in samples.items():
        summary = summarise(rounds)
        row: dict[str, Any] = {
            "case": f"{size} products",
            "products": size,
            "contender": name,
            "p50_ms": summary.p50,
            "p95_ms": summary.p95,
            "p99_ms": summary.p99,
            "recall": recall(exact, np.load(result.outputs[heat.name][name])),
        }
        if ours and name != ours:
            against = ratio(samples[ours], rounds)
            row |= {"ratio": against.value, "low": against.low, "high": against.high}
        rows.append(row)
    return sorted(rows, key=lambda row: float(row["p50_ms"]))
