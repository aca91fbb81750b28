"""End to end: a review and a 1000x1000 JPEG to the best ten products of a catalogue, both sides of each embedded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench import inputs
from clipshelf_bench.checkpoint import dimension
from clipshelf_bench.harness import Heat, race
from clipshelf_bench.parts.timing import OURS, heat_rows
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import recall

COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "low", "high", "recall")
_REVIEW = "I love running shoes, especially those with great support and comfort."
_REFERENCE = "original"


def end_to_end(setup: Setup) -> list[Table]:
    """Answers among 10 and 1000 products; the original compares products one by one, so larger shelves wait for it."""
    query = _query(setup.folder)
    tables = []
    for subject in setup.subjects:
        rows: list[Row] = []
        skipped: dict[str, str] = {}
        for products in (10, 1000):
            matrix = setup.matrix(products, 2 * dimension(subject))
            heat = Heat(f"answer among {products}", query, 2)
            lanes, absent = setup.lanes("answer", subject, matrix)
            result = race(lanes, [heat], setup.plan, setup.folder, setup.tell)
            skipped |= absent | result.skipped
            outputs = result.outputs.pop(heat.name)
            result.outputs[heat.name] = {}
            rows += [dict(row) | _recall(outputs, str(row["contender"])) for row in heat_rows(result, heat)]
        note = f"ratio: median of {OURS} over the contender's. recall: share of the original's ten best products."
        plot = Plot(f"end-to-end-{subject.name}", "End to end", "bar", "contender", "p50_ms", "case")
        tables.append(Table("end-to-end", f"End to end: {subject.name}", COLUMNS, rows, [note], skipped, [plot]))
    return tables


def _query(folder: Path) -> Path:
    """A file with the review and the path of the photo."""
    photo = inputs.write_photos(folder / "query", 1, 1000, seed=3) / "000.jpg"
    path = folder / "query.json"
    path.write_text(json.dumps({"text": _REVIEW, "photo": str(photo)}))
    return path


def _recall(outputs: dict[str, Path], name: str) -> dict[str, Any]:
    if _REFERENCE not in outputs or name not in outputs:
        return {}
    return {"recall": recall(np.load(outputs[_REFERENCE]), np.load(outputs[name]))}
