"""Races over the towers: latency of one call, and throughput of batches, each beside how right the answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.parts.feeding import feeding_table
from clipshelf_bench.race.harness import Heat, Plan, Race, race
from clipshelf_bench.race.stats import columns, fidelity
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.subject import Subject

OURS = "clipshelf"
# Whose answers the others' are held against: the original in fp32, and for pixels, Pillow's plain way.
REFERENCES = ("torch-fp32", "pillow")
COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "p99_ms", "ratio", "cosine", "centred")
_NOTE = (
    "ratio: median of clipshelf over median of the contender, with its 95% bootstrap interval; below 1 clipshelf is "
    "faster. cosine and centred (after subtracting the mean): means over all rows, against torch fp32, and for pixels "
    "against Pillow's plain decoding."
)
_TEXT_BATCH, _TEXT_BATCH_QUICK = 32, 8
# A turn of a batch is long by itself.
_BATCH_ROUNDS = 9


def latency(setup: Setup) -> list[Table]:
    """One picture, a sentence of 12 tokens and (not when quick) of the most, a JPEG to pixels and on, a sentence."""
    return [
        _table(
            setup,
            subject,
            ("latency", "Latency of one call"),
            [
                setup.image_heat(subject, 1),
                *(setup.text_heat(subject, tokens, 1) for tokens in ((12,) if setup.quick else (12, subject.tokens))),
                setup.decode_heat(),
                setup.photo_heat(1),
                setup.sentence_heat(1),
            ],
            plan=setup.plan,
        )
        for subject in setup.subjects
    ]


def throughput(setup: Setup) -> list[Table]:
    """Batches of pictures, sentences and (not when quick) JPEG files, in ms per item; many photos in one call."""
    plan = replace(setup.plan, rounds=min(setup.plan.rounds, _BATCH_ROUNDS), runs=1)
    tables = []
    for subject in setup.subjects:
        more = [] if setup.quick else [setup.image_heat(subject, 32), setup.photo_heat(8)]
        heats = [*batch_heats(setup, subject), *more]
        named = ("throughput", "Batches, per item")
        tables.append(_table(setup, subject, named, heats, plan=plan, per_item=True))
        tables.append(feeding_table(setup, subject))
    return tables


def batch_heats(setup: Setup, subject: Subject) -> list[Heat]:
    """A batch of pictures and one of sentences, which the towers' fidelity is taken on too."""
    batch = _TEXT_BATCH_QUICK if setup.quick else _TEXT_BATCH
    return [setup.image_heat(subject, 8), setup.text_heat(subject, 12, batch)]


def _table(
    setup: Setup, subject: Subject, part: tuple[str, str], heats: Sequence[Heat], *, plan: Plan, per_item: bool = False
) -> Table:
    name, title = part
    lanes, absent = setup.lanes(*(heat.task for heat in heats), subject=subject)
    result = race(lanes, heats, plan, setup.folder, setup.tell)
    rows = [row for heat in heats for row in heat_rows(result, heat, heat.batch if per_item else 1)]
    plots = [
        Plot(f"{name}-{subject.name}-{i}", heat.name, "bar", "contender", "p50_ms", "case", where={"case": heat.name})
        for i, heat in enumerate(heats)
    ]
    return Table(name, f"{title}: {subject.name}", COLUMNS, rows, [_NOTE], absent | result.skipped, plots)


def heat_rows(result: Race, heat: Heat, scale: float = 1.0) -> list[Row]:
    """One row per contender of a heat, fastest first."""
    samples, outputs = result.samples[heat.name], result.outputs[heat.name]
    rows: list[dict[str, Any]] = [
        {"case": heat.name, "contender": name, **columns(rounds, samples.get(OURS), scale), **accuracy(outputs, name)}
        for name, rounds in samples.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"]))


def accuracy(outputs: Mapping[str, Path], name: str, references: Sequence[str] = REFERENCES) -> dict[str, float]:
    """Fidelity of a contender's saved answers to those of the reference that there is; empty where there is none."""
    reference = next((name for name in references if name in outputs), None)
    if reference is None or name not in outputs:
        return {}
    expected, found = (np.load(outputs[key]).astype(np.float32) for key in (reference, name))
    compared = fidelity(expected.reshape(len(expected), -1), found.reshape(len(found), -1))
    return {key: value for key, value in asdict(compared).items() if value is not None}
