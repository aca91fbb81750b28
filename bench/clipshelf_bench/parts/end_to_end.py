"""End to end: from a review and a JPEG to the best ten products of a catalogue with both sides embedded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.bench import PHOTO_EDGE, Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS, Clipshelf
from clipshelf_bench.contenders.original import Original
from clipshelf_bench.datasets import inputs
from clipshelf_bench.machine.environment import child_environment
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceResult, race
from clipshelf_bench.race.process import prepare_contender
from clipshelf_bench.stats import recall, time_columns
from clipshelf_bench.subjects.checkpoint import embedding_dim
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Plot, Table, TableRow

_COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "recall")
_STAGE_COLUMNS = ("stage", "p50_ms", "p95_ms", "p99_ms")
_PRODUCTS, _PRODUCTS_QUICK = (10, 1000, 100_000), (10,)
# The original compares products one at a time, which takes seconds for each query here.
_TOO_SLOW = {100_000: Original.name}
_RUNS, _RUNS_QUICK = 200, 20


def end_to_end(bench: Bench) -> list[Table]:
    """One query among 10 and (not when quick) 1000 and 100,000 products, and the stages of one among 100,000."""
    query = inputs.write_query(bench.folder / "query", PHOTO_EDGE, seed=3)
    return [
        table
        for subject in bench.subjects
        for table in (_query_table(bench, subject, query), _stage_table(bench, subject))
    ]


def _query_table(bench: Bench, subject: Subject, query: Path) -> Table:
    rows: list[TableRow] = []
    skipped: dict[str, str] = {}
    for products in _PRODUCTS_QUICK if bench.quick else _PRODUCTS:
        case = Case(f"answer among {products}", "recommend", query, batch=2)
        matrix = bench.matrix_file(products, 2 * embedding_dim(subject))
        entries, unready = bench.entries("recommend", subject=subject, matrix=matrix)
        slow = [entry for entry in entries if entry.name == _TOO_SLOW.get(products)]
        skipped |= unready
        skipped |= {entry.name: f"takes seconds for each answer among {products} products" for entry in slow}
        fast = [entry for entry in entries if entry not in slow]
        result = race(fast, [case], bench.options, bench.folder, bench.notify)
        skipped |= result.skipped
        rows += _case_rows(result, case)
    note = f"ratio: median of {OURS} over the contender's. recall: share of the original's ten best products."
    plot = Plot(f"end-to-end-{subject.name}", "End to end", "bar", "contender", "p50_ms", "case")
    return Table("end-to-end", f"End to end: {subject.name}", _COLUMNS, rows, [note], skipped, [plot])


def _case_rows(result: RaceResult, case: Case) -> list[TableRow]:
    """A row per contender of a case, fastest first."""
    samples, outputs = result.samples[case.name], result.outputs[case.name]
    rows: list[TableRow] = [
        {
            "case": case.name,
            "contender": name,
            **time_columns(rounds, samples.get(OURS)),
            **_recall_column(outputs, name),
        }
        for name, rounds in samples.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"]))


def _recall_column(outputs: Mapping[str, Path], name: str) -> dict[str, Any]:
    if Original.name not in outputs or name not in outputs:
        return {}
    return {"recall": recall(np.load(outputs[Original.name]), np.load(outputs[name]))}


def _stage_table(bench: Bench, subject: Subject) -> Table:
    """What `clipshelf bench` measures; the command runs in a process that has the runtime alone."""
    products, runs = max(_PRODUCTS), _RUNS_QUICK if bench.quick else _RUNS
    title = f"Stages of one answer among {products}: {subject.name}"
    bench.notify(title)
    reason = prepare_contender(Clipshelf, subject.record, bench.options.threads)
    if reason:
        return Table("end-to-end", title, _STAGE_COLUMNS, [], [], {OURS: reason})
    artifact = Clipshelf().shipped_folder(subject)
    command = [sys.executable, "-m", "clipshelf", "bench", "--json", "--artifact", str(artifact)]
    command += ["--products", str(products), "--runs", str(runs), "--threads", str(bench.options.threads)]
    environment = child_environment(bench.options.threads)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Table("end-to-end", title, _STAGE_COLUMNS, [], [], {OURS: done.stderr.strip()[-300:]})
    report = json.loads(done.stdout)
    rows = [
        {"stage": name, **{f"{percent}_ms": value for percent, value in times.items()}}
        for name, times in report["stages"].items()
    ]
    note = (
        f"{runs} queries of a review and a {PHOTO_EDGE}x{PHOTO_EDGE} JPEG, by `clipshelf bench --products {products}`. "
        f"{', '.join(report['overlapping'])} overlap within ready; "
        "in every query ready, vision, fuse, rank and answer add up to the total."
    )
    return Table("end-to-end", title, _STAGE_COLUMNS, rows, [note])
