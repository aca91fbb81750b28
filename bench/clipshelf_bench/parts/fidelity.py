"""How right every contender is, untimed: against torch fp32, and against itself in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.parts.timing import accuracy, batch_heats
from clipshelf_bench.race.harness import Heat, answers
from clipshelf_bench.result import Row, Table
from clipshelf_bench.setup import Setup

COLUMNS = ("case", "contender", "cosine", "cosine_min", "centred", "centred_min", "overlap", "batch_change")


def fidelity(setup: Setup) -> list[Table]:
    """Both towers of every subject that has a checkpoint to compare with; batch invariance for all."""
    tables = []
    for subject in setup.subjects:
        alone = [setup.image_heat(subject, 1), setup.text_heat(subject, 12, 1)]
        together = batch_heats(setup, subject)
        lanes, absent = setup.lanes("image", "text", subject=subject)
        result = answers(lanes, [*alone, *together], setup.plan, setup.folder, setup.tell)
        rows = [row for pair in zip(alone, together, strict=True) for row in _rows(*pair, result.outputs)]
        note = (
            f"{setup.rows} pictures and as many sentences of 12 tokens, one by one, against torch fp32. centred: "
            "cosine after subtracting the mean embedding; overlap: shared rows among the ten nearest; batch change: "
            "largest change of any number of an embedding when it is computed in a batch, of "
            f"{together[0].batch} pictures or {together[1].batch} sentences."
        )
        tables.append(Table("fidelity", f"Fidelity: {subject.name}", COLUMNS, rows, [note], absent | result.skipped))
    return tables


def _rows(alone: Heat, together: Heat, outputs: Mapping[str, Mapping[str, Path]]) -> list[Row]:
    """A row per contender that answered both heats."""
    rows: list[Row] = []
    for name, own in outputs[alone.name].items():
        row: dict[str, Any] = {"case": alone.task, "contender": name, **accuracy(outputs[alone.name], name)}
        if name in outputs[together.name]:
            row["batch_change"] = float(np.abs(np.load(own) - np.load(outputs[together.name][name])).max())
        rows.append(row)
    return rows
