"""Races over the towers: latency of one call, and throughput of batches, each beside how right the answer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.harness import Heat, Race, race
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import fidelity, ratio, summarise
from clipshelf_bench.subject import Subject

OURS, REFERENCE = "clipshelf", "torch-fp32"
COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "low", "high", "cosine", "centred")
_NOTE = (
    "ratio: median of clipshelf over median of the contender, with its 95% bootstrap interval (low, high); below 1 "
    "clipshelf is faster. cosine and centred (after subtracting the mean embedding): means against torch fp32."
)


def latency(setup: Setup) -> list[Table]:
    """One picture, one sentence of 12 and of 77 tokens, one JPEG, one sentence as text."""
    tables = []
    for subject in setup.subjects:
        plan: list[tuple[str, list[Heat]]] = [
            ("image", [setup.image_heat(subject, 1)]),
            ("text", [setup.text_heat(subject, tokens, 1) for tokens in (12, subject.tokens)]),
            ("photos", [setup.photo_heat(1)]),
            ("sentences", [setup.sentence_heat(1)]),
        ]
        tables.append(_table(setup, subject, "latency", "Latency of one call", plan=plan))
    return tables


def throughput(setup: Setup) -> list[Table]:
    """Batches of 8 and 32 pictures and of 32 sentences, in milliseconds per item."""
    tables = []
    for subject in setup.subjects:
        plan = [
            ("image", [setup.image_heat(subject, batch) for batch in ((8,) if setup.quick else (8, 32))]),
            ("text", [setup.text_heat(subject, 12, 32)]),
            ("photos", [setup.photo_heat(8)]),
        ]
        tables.append(_table(setup, subject, "throughput", "Batches, per item", plan=plan, per_item=True))
    return tables


def _table(
    setup: Setup,
    subject: Subject,
    part: str,
    title: str,
    *,
    plan: Sequence[tuple[str, list[Heat]]],
    per_item: bool = False,
) -> Table:
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    for task, heats in plan:
        lanes, absent = setup.lanes(task, subject)
        result = race(lanes, heats, setup.plan, setup.folder, setup.tell)
        skipped |= absent | result.skipped
        for heat in heats:
            rows += heat_rows(result, heat, per_item)
    plots = [
        Plot(f"{part}-{subject.name}-{i}", heat.name, "bar", "contender", "p50_ms", "case", where={"case": heat.name})
        for i, heat in enumerate(heat for _, heats in plan for heat in heats)
    ]
    return Table(part, f"{title}: {subject.name}", COLUMNS, rows, [_NOTE], skipped, plots)


def heat_rows(result: Race, heat: Heat, per_item: bool = False) -> list[Row]:
    """One row per contender of a heat, fastest first."""
    samples, scale = result.samples[heat.name], heat.batch if per_item else 1
    rows: list[dict[str, Any]] = []
    for name, rounds in samples.items():
        summary = summarise(rounds)
        row: dict[str, Any] = {
            "case": heat.name,
            "contender": name,
            "p50_ms": summary.p50 / scale,
            "p95_ms": summary.p95 / scale,
            "p99_ms": summary.p99 / scale,
            "runs": summary.runs,
            "rounds": [float(np.median(r)) / scale for r in rounds],
        }
        if OURS in samples and name != OURS:
            against = ratio(samples[OURS], rounds)
            row |= {"ratio": against.value, "low": against.low, "high": against.high}
        rows.append(row | accuracy(result.outputs[heat.name], name))
    return sorted(rows, key=lambda row: float(row["p50_ms"]))


def accuracy(outputs: dict[str, Path], name: str, reference: str = REFERENCE) -> dict[str, float]:
    """Fidelity of a contender's saved answers to the reference's, empty where there is no reference."""
    if reference not in outputs or name not in outputs:
        return {}
    found = asdict(fidelity(np.load(outputs[reference]), np.load(outputs[name])))
    return {key: value for key, value in found.items() if value is not None}
