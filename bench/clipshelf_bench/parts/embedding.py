"""Races over the embedding tasks, with how accurate each contender is; `latency` and `throughput` are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.bench import SHORT_TOKENS, Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceOptions, RaceResult, race
from clipshelf_bench.stats import fidelity, time_columns
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Plot, Table, TableRow

# The contender whose output is the reference: for embeddings the original model in fp32, for pixels plain Pillow.
_REFERENCES = ("torch-fp32", "pillow")
_COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "cosine", "centred")
_NOTE = (
    "ratio: median of clipshelf over median of the contender, with its 95% bootstrap interval; below 1 clipshelf is "
    "faster. cosine and centred (after subtracting the mean): means over all rows, against torch fp32, and for pixels "
    "against Pillow's plain decoding."
)
_IMAGE_BATCH = 8
_TEXT_BATCH, _TEXT_BATCH_QUICK = 32, 8


def embedding_table(
    bench: Bench,
    subject: Subject,
    cases: Sequence[Case],
    options: RaceOptions,
    *,
    part: str,
    title: str,
    per_item: bool = False,
) -> Table:
    """Race all contenders on cases of one subject.

    - `bench`, `subject`: the run and the model.
    - `cases`: what to measure, in the order of the table.
    - `options`: how long to measure.
    - `part`, `title`: of the table; the title is completed with the subject's name.
    - `per_item`: whether times are given per item of a batch.
    """
    entries, skipped = bench.entries(*(case.task for case in cases), subject=subject)
    result = race(entries, cases, options, bench.folder, bench.notify)
    rows = [row for case in cases for row in _case_rows(result, case, case.batch if per_item else 1)]
    plots = [
        Plot(f"{part}-{subject.name}-{i}", case.name, "bar", "contender", "p50_ms", "case", where={"case": case.name})
        for i, case in enumerate(cases)
    ]
    return Table(part, f"{title}: {subject.name}", _COLUMNS, rows, [_NOTE], skipped | result.skipped, plots)


def batch_cases(bench: Bench, subject: Subject) -> list[Case]:
    """A batch of pictures and a batch of sentences."""
    text_batch = _TEXT_BATCH_QUICK if bench.quick else _TEXT_BATCH
    return [bench.image_case(subject, _IMAGE_BATCH), bench.text_case(subject, SHORT_TOKENS, text_batch)]


def _case_rows(result: RaceResult, case: Case, items: float) -> list[TableRow]:
    """A row per contender of a case, fastest first."""
    samples, outputs = result.samples[case.name], result.outputs[case.name]
    rows: list[dict[str, Any]] = [
        {
            "case": case.name,
            "contender": name,
            **time_columns(rounds, samples.get(OURS), items),
            **accuracy_columns(outputs, name),
        }
        for name, rounds in samples.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"]))


def accuracy_columns(
    outputs: Mapping[str, Path], name: str, references: Sequence[str] = _REFERENCES
) -> dict[str, float]:
    """Compare the saved output of a contender with the reference's.

    - `outputs`: .npy files by contender.
    - `name`: the contender.
    - `references`: contenders that can be the reference; the first that has an output is.

    Returns the fields of `stats.Fidelity` that have a value; empty where either output is missing.
    """
    reference = next((name for name in references if name in outputs), None)
    if reference is None or name not in outputs:
        return {}
    expected, actual = (np.load(outputs[key]).astype(np.float32) for key in (reference, name))
    compared = fidelity(expected.reshape(len(expected), -1), actual.reshape(len(actual), -1))
    return {key: value for key, value in asdict(compared).items() if value is not None}
