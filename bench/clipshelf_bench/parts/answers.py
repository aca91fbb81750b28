"""End to end: a review and a 1000x1000 JPEG to the best ten products of a catalogue, both sides of each embedded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf
from clipshelf_bench.datasets import inputs
from clipshelf_bench.parts.timing import OURS
from clipshelf_bench.race.harness import Heat, race
from clipshelf_bench.race.process import child_environment, prepare
from clipshelf_bench.race.stats import columns, recall
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import PHOTO_EDGE, Setup
from clipshelf_bench.subjects.checkpoint import dimension
from clipshelf_bench.subjects.subject import Subject

COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "recall")
STAGES = ("stage", "p50_ms", "p95_ms", "p99_ms")
_REFERENCE = "original"
_PRODUCTS, _PRODUCTS_QUICK = (10, 1000, 100_000), (10,)
# The original compares products one by one, for seconds at each query.
_WITHOUT = {100_000: _REFERENCE}
_RUNS, _RUNS_QUICK = 200, 20


def end_to_end(setup: Setup) -> list[Table]:
    """Answers among 10 and (not when quick) 1000 and 100,000 products, and the stages of one among 100,000."""
    query = inputs.write_query(setup.folder / "query", PHOTO_EDGE, seed=3)
    return [table for subject in setup.subjects for table in (_race(setup, subject, query), _stages(setup, subject))]


def _race(setup: Setup, subject: Subject, query: Path) -> Table:
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    for products in _PRODUCTS_QUICK if setup.quick else _PRODUCTS:
        heat = Heat(f"answer among {products}", "answer", query, 2)
        lanes, absent = setup.lanes("answer", subject=subject, matrix=setup.matrix(products, 2 * dimension(subject)))
        slow = [lane for lane in lanes if lane.name == _WITHOUT.get(products)]
        absent |= {lane.name: f"takes seconds for each answer among {products} products" for lane in slow}
        result = race([lane for lane in lanes if lane not in slow], [heat], setup.plan, setup.folder, setup.tell)
        skipped |= absent | result.skipped
        samples, outputs = result.samples[heat.name], result.outputs[heat.name]
        found = [
            {"case": heat.name, "contender": name, **columns(rounds, samples.get(OURS)), **_recall(outputs, name)}
            for name, rounds in samples.items()
        ]
        rows += sorted(found, key=lambda row: float(row["p50_ms"]))
    note = f"ratio: median of {OURS} over the contender's. recall: share of the original's ten best products."
    plot = Plot(f"end-to-end-{subject.name}", "End to end", "bar", "contender", "p50_ms", "case")
    return Table("end-to-end", f"End to end: {subject.name}", COLUMNS, rows, [note], skipped, [plot])


def _recall(outputs: Mapping[str, Path], name: str) -> dict[str, Any]:
    if _REFERENCE not in outputs or name not in outputs:
        return {}
    return {"recall": recall(np.load(outputs[_REFERENCE]), np.load(outputs[name]))}


def _stages(setup: Setup, subject: Subject) -> Table:
    """What `clipshelf bench` prints, by its own command, which needs the runtime alone."""
    products, runs = max(_PRODUCTS), _RUNS_QUICK if setup.quick else _RUNS
    title = f"Stages of one answer among {products}: {subject.name}"
    setup.tell(title)
    reason = prepare(Clipshelf, subject.record, setup.plan.threads)
    if reason:
        return Table("end-to-end", title, STAGES, [], [], {OURS: reason})
    command = [sys.executable, "-m", "clipshelf", "bench", "--json", "--artifact", str(Clipshelf().disk(subject))]
    command += ["--products", str(products), "--runs", str(runs), "--threads", str(setup.plan.threads)]
    environment = child_environment(setup.plan.threads)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Table("end-to-end", title, STAGES, [], [], {OURS: done.stderr.strip()[-300:]})
    found = json.loads(done.stdout)
    rows = [
        {"stage": name, **{f"{percent}_ms": value for percent, value in times.items()}}
        for name, times in found["stages"].items()
    ]
    note = (
        f"{runs} queries of a review and a {PHOTO_EDGE}x{PHOTO_EDGE} JPEG, by `clipshelf bench --products {products}`. "
        f"{', '.join(found['overlapping'])} overlap within ready; "
        "in every query ready, vision, fuse, rank and answer add up to the total."
    )
    return Table("end-to-end", title, STAGES, rows, [note])
