"""Against the limit: our towers and our ranking as a share of what this machine's peaks allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from clipshelf import Artifact

from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf, ClipshelfRank, ClipshelfRankFloat
from clipshelf_bench.machine.machine import peaks
from clipshelf_bench.machine.roofline import Work, count_work
from clipshelf_bench.parts.ranking import DIM
from clipshelf_bench.race.harness import Heat
from clipshelf_bench.result import Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.subject import Subject

COLUMNS = ("case", "p50_ms", "gmacs", "weights_mb", "compute_ms", "memory_ms", "share", "operators")
# Points of the curves that are held against the limit.
BATCHES, TOKENS = (1, 8), 16
_OPERATORS = 3


def limit_table(setup: Setup, curves: Iterable[tuple[Subject, Iterable[Row]]], products: Iterable[Row]) -> Table:
    """Some measured points of the towers' curves, and the last of the products'."""
    bounds = peaks(setup.plan.threads)
    rows = [row for subject, points in curves for row in _tower_rows(setup, subject, points, bounds)]
    rows += _rank_rows(products, bounds)
    note = (
        "Measured peaks: " + ", ".join(f"{name} {value:.0f}" for name, value in bounds.items()) + " (1e9 per second). "
        "compute ms and memory ms: the least time that arithmetic and reading the weights (for ranking: the rows) take "
        "at these peaks; share: the larger of the two over the measured time. Weights that stay in the caches can beat "
        f"memory ms. operators: the {_OPERATORS} that took most, in ms."
    )
    return Table("scaling", "Against the limit", COLUMNS, rows, [note])


def _tower_rows(setup: Setup, subject: Subject, points: Iterable[Row], bounds: Mapping[str, float]) -> list[Row]:
    """Our towers against the peaks, with the operators that take most of the time."""
    measured = {(row["curve"], row["x"]): row["p50_ms"] for row in points if row["contender"] == Clipshelf.name}
    wanted: dict[tuple[str, int], Heat] = {("batch", batch): setup.image_heat(subject, batch) for batch in BATCHES}
    wanted["tokens", TOKENS] = setup.text_heat(subject, TOKENS, 1)
    rows: list[Row] = []
    for point in wanted.keys() & measured.keys():
        heat, artifact = wanted[point], Artifact.open(Clipshelf().disk(subject))
        graph = artifact.path / ("vision.onnx" if heat.task == "image" else "text.onnx")
        work = count_work(graph, _feeds(artifact, heat), setup.plan.threads)
        slowest = sorted(work.operator_ms.items(), key=lambda item: -item[1])[:_OPERATORS]
        row = _row(f"{subject.name}: {heat.name}", work, measured[point], bounds)
        rows.append(row | {"operators": ", ".join(f"{name} {ms:.2f}" for name, ms in slowest)})
    return sorted(rows, key=lambda row: str(row["case"]))


def _feeds(artifact: Artifact, heat: Heat) -> dict[str, Any]:
    rows = np.load(heat.input)[: heat.batch]
    if heat.task == "image":
        return {"pixels": rows}
    mask = {"attention_mask": np.ones_like(rows)} if artifact.manifest.text.attention_mask else {}
    return {"input_ids": rows} | mask


def _rank_rows(products: Iterable[Row], bounds: Mapping[str, float]) -> list[Row]:
    """Our scans of the most products against reading every row once: in one byte per number, or in four."""
    last = {row["contender"]: row for row in sorted(products, key=lambda row: float(row["x"]))}
    rows: list[Row] = []
    for ranker, eight in ((ClipshelfRank, True), (ClipshelfRankFloat, False)):
        if ranker.name in last:
            macs = float(last[ranker.name]["x"] * DIM)
            work = Work(macs, 0.0, int(macs), {}) if eight else Work(0.0, macs, 4 * int(macs), {})
            case = f"{ranker.name}: one query among {last[ranker.name]['x']}"
            rows.append(_row(case, work, last[ranker.name]["p50_ms"], bounds))
    return rows


def _row(case: str, work: Work, measured: float, bounds: Mapping[str, float]) -> dict[str, Any]:
    compute, memory = work.bound_ms(bounds)
    return {
        "case": case,
        "p50_ms": measured,
        "gmacs": (work.int8_macs + work.fp32_macs) / 1e9,
        "weights_mb": work.weight_bytes / 1e6,
        "compute_ms": compute,
        "memory_ms": memory,
        "share": max(compute, memory) / measured,
    }
