"""Cost curves, as batch, tokens, threads and products grow, and how near the machine's limit ours comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from clipshelf import Artifact

from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf
from clipshelf_bench.harness import Heat, race
from clipshelf_bench.limits import count_work
from clipshelf_bench.machine import peaks
from clipshelf_bench.parts import ranking
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import exponent, summarise
from clipshelf_bench.subject import Subject

_SHOWN = ("clipshelf", "openvino-int8", "ort-dynamic-int8")
_TITLES = {"batch": "Pictures in a batch", "tokens": "Tokens of a sentence", "threads": "Threads, one picture"}
# Below this a call is mostly overhead, and a power law says nothing.
_LEAST_PRODUCTS = 10_000
_OPERATORS = 6


def scaling(setup: Setup) -> list[Table]:
    """Curves of the towers for every subject, of ranking once, and the bounds."""
    tables = []
    for subject in setup.subjects:
        curves = {"batch": _batches(setup, subject), "tokens": _tokens(setup, subject)}
        curves["threads"] = _threads(setup, subject)
        for name, rows in curves.items():
            tables.append(_curve_table(f"{_TITLES[name]}: {subject.name}", f"{name}-{subject.name}", rows))
    tables.append(_curve_table("Products, one query", "products", _products(setup)))
    return [*tables, _limit_table(setup)]


def _curve_table(title: str, name: str, rows: list[Row]) -> Table:
    """Points of a curve, each contender's fitted exponent in its last row."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        points.setdefault(row["contender"], []).append((row["x"], row["p50_ms"]))
    fits = {contender: _fit(found) for contender, found in points.items()}
    last = {contender: max(x for x, _ in found) for contender, found in points.items()}
    rows = [
        dict(row) | ({"exponent": fits[row["contender"]]} if row["x"] == last[row["contender"]] else {}) for row in rows
    ]
    plot = Plot(f"scaling-{name}", title, "line", "x", "p50_ms", "contender", log=True)
    note = "exponent: slope of log time over log x by least squares; 1 is linear growth, 0 is free."
    return Table("scaling", title, ("case", "x", "contender", "p50_ms", "p95_ms", "exponent"), rows, [note], {}, [plot])


def _fit(points: Sequence[tuple[float, float]]) -> float | None:
    kept = [(x, y) for x, y in points if x >= _LEAST_PRODUCTS or x < 1000]
    return exponent([x for x, _ in kept], [y for _, y in kept]) if len(kept) > 1 else None


def _batches(setup: Setup, subject: Subject) -> list[Row]:
    heats = [setup.image_heat(subject, batch) for batch in ((1, 4, 16) if setup.quick else (1, 2, 4, 8, 16, 32))]
    return _race_rows(setup, subject, "image", heats, sizes=[heat.batch for heat in heats], curve="batch")


def _tokens(setup: Setup, subject: Subject) -> list[Row]:
    points = (4, 16) if setup.quick else (4, 8, 16, 32, 64, 128, 256)
    lengths = [*(length for length in points if length < subject.tokens), subject.tokens]
    heats = [setup.text_heat(subject, length, 1) for length in lengths]
    return _race_rows(setup, subject, "text", heats, sizes=lengths, curve="tokens")


def _threads(setup: Setup, subject: Subject) -> list[Row]:
    rows: list[Row] = []
    counts = sorted({1, setup.plan.threads} | {2**i for i in range(8) if 2**i < setup.plan.threads})
    for count in counts:
        slower = replace(setup, plan=replace(setup.plan, threads=count))
        rows += _race_rows(slower, subject, "image", [setup.image_heat(subject, 1)], sizes=[count], curve="threads")
    return rows


def _race_rows(
    setup: Setup, subject: Subject, task: str, heats: list[Heat], *, sizes: Sequence[int], curve: str
) -> list[Row]:
    lanes = [lane for lane in setup.lanes(task, subject)[0] if lane.name in _SHOWN]
    result = race(lanes, heats, _short(setup), setup.folder, setup.tell)
    return [
        _point(curve, size, name, rounds)
        for size, heat in zip(sizes, heats, strict=True)
        for name, rounds in result.samples[heat.name].items()
    ]


def _products(setup: Setup) -> list[Row]:
    rows: list[Row] = []
    for size in (1_000, 10_000, 100_000) if setup.quick else (1_000, 10_000, 100_000, 1_000_000):
        result, heat, _ = ranking.rank_race(setup, size, _short(setup), (*ranking.OURS, "numpy", "faiss-flat"))
        rows += [_point("products", size, name, rounds) for name, rounds in result.samples[heat.name].items()]
    return rows


def _short(setup: Setup) -> Any:
    """A curve has many points: fewer rounds for each."""
    return replace(setup.plan, rounds=max(3, setup.plan.rounds // 3))


def _point(curve: str, x: int, name: str, rounds: list[list[float]]) -> dict[str, Any]:
    summary = summarise(rounds)
    return {"case": f"{curve} {x}", "x": x, "contender": name, "p50_ms": summary.p50, "p95_ms": summary.p95}


def _limit_table(setup: Setup) -> Table:
    bounds = peaks(setup.plan.threads)
    rows = [row for subject in setup.subjects for row in _tower_rows(setup, subject, bounds)]
    note = (
        "Measured peaks: " + ", ".join(f"{name} {value:.0f}" for name, value in bounds.items()) + " (1e9 per second). "
        "compute_ms and memory_ms: the least time that arithmetic and reading the weights take at these peaks; share: "
        "the larger of the two over the measured time. Weights that stay in the caches can beat memory_ms."
    )
    columns = ("case", "p50_ms", "gmacs", "weights_mb", "compute_ms", "memory_ms", "share", "operators")
    return Table("scaling", "Against the limit", columns, rows, [note])


def _tower_rows(setup: Setup, subject: Subject, bounds: dict[str, float]) -> list[Row]:
    """Our towers against the peaks, with the operators that take most of the time."""
    if Clipshelf not in setup.able(subject, "image")[0]:
        return []
    artifact = Artifact.open(Clipshelf().disk(subject))
    rows: list[Row] = []
    for task, tower, heat in (
        ("image", "vision", setup.image_heat(subject, 1)),
        ("image", "vision", setup.image_heat(subject, 8)),
        ("text", "text", setup.text_heat(subject, 12, 1)),
    ):
        lanes = [lane for lane in setup.lanes(task, subject)[0] if lane.contender is Clipshelf]
        result = race(lanes, [heat], _short(setup), setup.folder, setup.tell)
        if result.skipped:
            continue
        measured = summarise(result.samples[heat.name][Clipshelf.name]).p50
        feeds = _feeds(artifact, task, np.load(heat.input)[: heat.batch])
        work = count_work(artifact.path / f"{tower}.onnx", feeds, setup.plan.threads)
        compute, memory = work.bound_ms(bounds)
        slowest = sorted(work.operator_ms.items(), key=lambda item: -item[1])[:_OPERATORS]
        rows.append(
            {
                "case": f"{subject.name}: {heat.name}",
                "p50_ms": measured,
                "gmacs": (work.int8_macs + work.fp32_macs) / 1e9,
                "weights_mb": work.weight_bytes / 1e6,
                "compute_ms": compute,
                "memory_ms": memory,
                "share": max(compute, memory) / measured,
                "operators": ", ".join(f"{name} {ms:.2f}" for name, ms in slowest),
            }
        )
    return rows


def _feeds(artifact: Artifact, task: str, rows: Any) -> dict[str, Any]:
    if task == "image":
        return {"pixels": rows}
    return {"input_ids": rows} | (
        {"attention_mask": np.ones_like(rows)} if artifact.manifest.text.attention_mask else {}
    )
