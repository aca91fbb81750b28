"""How accurate every contender is, untimed: against torch fp32, and against its own embeddings in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.bench import SHORT_TOKENS, Bench
from clipshelf_bench.parts.embedding import accuracy_columns, batch_cases
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import save_outputs
from clipshelf_bench.tables import Table, TableRow

_COLUMNS = ("case", "contender", "cosine", "cosine_min", "centred", "centred_min", "overlap", "batch_change")


def fidelity(bench: Bench) -> list[Table]:
    """Both towers against torch fp32, and how much an embedding changes when it is computed in a batch.

    A subject without a checkpoint has no torch model, so its table has the change in a batch alone.
    """
    tables = []
    for subject in bench.subjects:
        single = [bench.image_case(subject, 1), bench.text_case(subject, SHORT_TOKENS, 1)]
        batched = batch_cases(bench, subject)
        entries, skipped = bench.entries("image", "text", subject=subject)
        result = save_outputs(entries, [*single, *batched], bench.options, bench.folder, bench.notify)
        rows = [row for pair in zip(single, batched, strict=True) for row in _rows(*pair, result.outputs)]
        note = (
            f"{bench.row_count} pictures and as many sentences of 12 tokens, one by one, against torch fp32. centred: "
            "cosine after subtracting the mean embedding; overlap: shared rows among the ten nearest; batch change: "
            "largest change of any number of an embedding when it is computed in a batch, of "
            f"{batched[0].batch} pictures or {batched[1].batch} sentences."
        )
        title = f"Fidelity: {subject.name}"
        tables.append(Table("fidelity", title, _COLUMNS, rows, [note], skipped | result.skipped))
    return tables


def _rows(single: Case, batched: Case, outputs: Mapping[str, Mapping[str, Path]]) -> list[TableRow]:
    """A row per contender that has an output for the single case."""
    rows: list[TableRow] = []
    for name, output in outputs[single.name].items():
        row: dict[str, Any] = {"case": single.task, "contender": name, **accuracy_columns(outputs[single.name], name)}
        if name in outputs[batched.name]:
            row["batch_change"] = float(np.abs(np.load(output) - np.load(outputs[batched.name][name])).max())
        rows.append(row)
    return rows
