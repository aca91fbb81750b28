"""How right every contender is, untimed: against torch fp32, and against itself in a batch."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.harness import ContenderError, Heat, Lane, Process
from clipshelf_bench.result import Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import fidelity as compare

REFERENCE = "torch-fp32"
COLUMNS = ("case", "contender", "cosine", "cosine_min", "centred", "centred_min", "overlap", "batch_change")
_BATCH = 8


def fidelity(setup: Setup) -> list[Table]:
    """Both towers of every subject that has a checkpoint to compare with; batch invariance for all."""
    tables = []
    for subject in setup.subjects:
        rows: list[Row] = []
        skipped: dict[str, str] = {}
        for task, heat in (("image", setup.image_heat(subject, 1)), ("text", setup.text_heat(subject, 12, 1))):
            lanes, absent = setup.lanes(task, subject)
            alone = {lane.name: _saved(setup, lane, heat, "alone", absent) for lane in lanes}
            batched = replace(heat, batch=_BATCH)
            together = {lane.name: _saved(setup, lane, batched, "batch", absent) for lane in lanes}
            rows += [_row(task, lane.name, alone, together) for lane in lanes if lane.name not in absent]
            skipped |= absent
        note = (
            f"{setup.rows} pictures and as many sentences of 12 tokens, one by one, against torch fp32. centred: "
            "cosine after subtracting the mean embedding; overlap: shared rows among the ten nearest; batch_change: "
            f"largest change of any number of an embedding when it is computed in a batch of {_BATCH}."
        )
        tables.append(Table("fidelity", f"Fidelity: {subject.name}", COLUMNS, rows, [note], skipped))
    return tables


def _saved(setup: Setup, lane: Lane, heat: Heat, kind: str, skipped: dict[str, str]) -> Path | None:
    """File of a contender's answers on the whole input; None, and the reason noted, where it fails."""
    if lane.name in skipped:
        return None
    output = setup.folder / f"fidelity-{kind}-{lane.task}-{lane.name}.npy"
    setup.tell(f"fidelity: {lane.name}, {lane.task}")
    with Process(lane.contender, setup.plan.threads) as process:
        try:
            process.open(lane, setup.plan.threads)
            process.ask(do="save", task=lane.task, input=heat.input, batch=heat.batch, output=output)
        except ContenderError as error:
            skipped[lane.name] = str(error)
            return None
    return output


def _row(task: str, name: str, alone: dict[str, Path | None], together: dict[str, Path | None]) -> dict[str, Any]:
    own, batched, reference = alone[name], together[name], alone.get(REFERENCE)
    row: dict[str, Any] = {"case": task, "contender": name}
    if own and batched:
        row["batch_change"] = float(np.abs(np.load(own) - np.load(batched)).max())
    if own and reference:
        row |= {k: v for k, v in asdict(compare(np.load(reference), np.load(own))).items() if v is not None}
    return row
