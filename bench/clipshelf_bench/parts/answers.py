"""End to end: a review and a 1000x1000 JPEG to the best ten products of a catalogue, both sides of each embedded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench import inputs
from clipshelf_bench.checkpoint import dimension
from clipshelf_bench.harness import Heat, race
from clipshelf_bench.parts.timing import OURS
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import PHOTO_EDGE, Setup
from clipshelf_bench.stats import columns, recall

COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "recall")
_REFERENCE = "original"


def end_to_end(setup: Setup) -> list[Table]:
    """Answers among 10 and 1000 products; the original compares products one by one, so larger shelves wait for it."""
    query = inputs.write_query(setup.folder / "query", PHOTO_EDGE, seed=3)
    tables = []
    for subject in setup.subjects:
        rows: list[Row] = []
        skipped: dict[str, str] = {}
        for products in (10, 1000):
            heat = Heat(f"answer among {products}", "answer", query, 2)
            lanes, absent = setup.lanes(
                "answer", subject=subject, matrix=setup.matrix(products, 2 * dimension(subject))
            )
            result = race(lanes, [heat], setup.plan, setup.folder, setup.tell)
            skipped |= absent | result.skipped
            samples, outputs = result.samples[heat.name], result.outputs[heat.name]
            found = [
                {"case": heat.name, "contender": name, **columns(rounds, samples.get(OURS)), **_recall(outputs, name)}
                for name, rounds in samples.items()
            ]
            rows += sorted(found, key=lambda row: float(row["p50_ms"]))
        note = f"ratio: median of {OURS} over the contender's. recall: share of the original's ten best products."
        plot = Plot(f"end-to-end-{subject.name}", "End to end", "bar", "contender", "p50_ms", "case")
        tables.append(Table("end-to-end", f"End to end: {subject.name}", COLUMNS, rows, [note], skipped, [plot]))
    return tables


def _recall(outputs: Mapping[str, Path], name: str) -> dict[str, Any]:
    if _REFERENCE not in outputs or name not in outputs:
        return {}
    return {"recall": recall(np.load(outputs[_REFERENCE]), np.load(outputs[name]))}
