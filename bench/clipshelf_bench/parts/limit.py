"""clipshelf's towers, with native kernels and without, and its rankers against what the machine's peaks allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from clipshelf import Artifact

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.clipshelf_rank import ClipshelfRank, ClipshelfRankFloat
from clipshelf_bench.contenders.clipshelf_runtime import OURS, Clipshelf, ClipshelfFunctions
from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.machine.peaks import measure_peaks
from clipshelf_bench.machine.roofline import Work, count_work
from clipshelf_bench.parts.rank import RANK_DIM
from clipshelf_bench.race.cases import Case
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Table, TableRow

_COLUMNS = ("case", "p50_ms", "stock_ms", "gmacs", "weights_mb", "compute_ms", "memory_ms", "share", "operators")
# The points of the curves that are compared.
_BATCHES, _TOKENS = (1, 8), 16
_OPERATORS = 3


def limit_table(
    bench: Bench, curves: Iterable[tuple[Subject, Iterable[TableRow]]], products: Iterable[TableRow]
) -> Table:
    """Compare measured times with the least times at the machine's peaks.

    - `bench`: the run.
    - `curves`: each subject with the rows of its towers' curves, from `scaling`.
    - `products`: rows of the rankers' curve.
    """
    peaks = measure_peaks(bench.options.threads, cache_folder())
    rows = [row for subject, points in curves for row in _tower_rows(bench, subject, points, peaks)]
    rows += _rank_rows(products, peaks)
    note = (
        "Measured peaks: " + ", ".join(f"{name} {value:.0f}" for name, value in peaks.items()) + " (1e9 per second); "
        "bare: the product instruction alone, on registers. "
        "p50 ms: with the native kernels where they run; stock ms: the same artifact on onnxruntime's operators alone. "
        "compute ms and memory ms: the least time that arithmetic and reading the weights (for ranking: the rows) take "
        "at these peaks; share: the larger of the two over the measured time. Weights that stay in the caches can beat "
        f"memory ms. operators: the {_OPERATORS} that took most, in ms."
    )
    return Table("scaling", "Against the limit", _COLUMNS, rows, [note])


def _tower_rows(
    bench: Bench, subject: Subject, points: Iterable[TableRow], peaks: Mapping[str, float]
) -> list[TableRow]:
    """A row per compared point of a subject, with the operators that take most of its time."""
    times: dict[str, dict[tuple[str, int], float]] = {OURS: {}, ClipshelfFunctions.name: {}}
    for row in points:
        if row["contender"] in times:
            times[row["contender"]][row["curve"], row["x"]] = row["p50_ms"]
    measured, stock = times.values()
    cases: dict[tuple[str, int], Case] = {("batch", batch): bench.image_case(subject, batch) for batch in _BATCHES}
    cases["tokens", _TOKENS] = bench.text_case(subject, _TOKENS, 1)
    rows: list[TableRow] = []
    for point in cases.keys() & measured.keys():
        case, artifact = cases[point], Artifact.open(Clipshelf().shipped_folder(subject))
        graph = artifact.path / ("vision.onnx" if case.task == "image" else "text.onnx")
        work = count_work(graph, _feeds(artifact, case), bench.options.threads)
        slowest = sorted(work.operator_ms.items(), key=lambda item: -item[1])[:_OPERATORS]
        row = _row(f"{subject.name}: {case.name}", work, measured[point], peaks)
        row |= {"stock_ms": stock[point]} if point in stock else {}
        rows.append(row | {"operators": ", ".join(f"{name} {ms:.2f}" for name, ms in slowest)})
    return sorted(rows, key=lambda row: str(row["case"]))


def _feeds(artifact: Artifact, case: Case) -> dict[str, Any]:
    """Inputs of a graph by name."""
    rows = np.load(case.input)[: case.batch]
    if case.task == "image":
        return {"pixels": rows}
    mask = {"attention_mask": np.ones_like(rows)} if artifact.manifest.text.attention_mask else {}
    return {"input_ids": rows} | mask


def _rank_rows(products: Iterable[TableRow], peaks: Mapping[str, float]) -> list[TableRow]:
    """A row per ranker with the most products, whose scan reads every number once, in one byte or in four."""
    largest = {row["contender"]: row for row in sorted(products, key=lambda row: float(row["x"]))}
    rows: list[TableRow] = []
    for ranker, is_int8 in ((ClipshelfRank, True), (ClipshelfRankFloat, False)):
        if ranker.name in largest:
            point = largest[ranker.name]
            macs = float(point["x"] * RANK_DIM)
            work = Work(macs, 0.0, int(macs), {}) if is_int8 else Work(0.0, macs, 4 * int(macs), {})
            rows.append(_row(f"{ranker.name}: one query among {point['x']}", work, point["p50_ms"], peaks))
    return rows


def _row(case: str, work: Work, measured_ms: float, peaks: Mapping[str, float]) -> dict[str, Any]:
    compute, memory = work.bound_ms(peaks)
    return {
        "case": case,
        "p50_ms": measured_ms,
        "gmacs": (work.int8_macs + work.fp32_macs) / 1e9,
        "weights_mb": work.weight_bytes / 1e6,
        "compute_ms": compute,
        "memory_ms": memory,
        "share": max(compute, memory) / measured_ms,
    }
