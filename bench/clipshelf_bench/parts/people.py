"""Many people at once: what `recommend_batch` saves over one call for each person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from clipshelf import Artifact
from clipshelf.bundled import model_path

from clipshelf_bench.race.harness import Heat, race
from clipshelf_bench.race.stats import columns, ratio, recall
from clipshelf_bench.result import Row, Table
from clipshelf_bench.setup import Setup

COLUMNS = ("contender", "p50_ms", "per second", "ratio", "same answers")
_ONE_BY_ONE = "clipshelf, one by one"
_LIKES = 8
_ROUNDS = 5
_SEED = 7


def people(setup: Setup) -> list[Table]:
    """1,000 profiles of eight likes over 100,000 products (100 over 10,000 when quick), D as the embedded default's."""
    persons, products = (100, 10_000) if setup.quick else (1000, 100_000)
    sides = setup.matrix(2 * products, Artifact.open(model_path()).manifest.dim)
    matrix = setup.folder / f"people-{products}.npy"
    np.save(matrix, np.load(sides).reshape(products, -1))
    liked = setup.folder / "likes.npy"
    np.save(liked, np.random.default_rng(_SEED).integers(0, products, (persons, _LIKES)))
    heat = Heat(f"{persons} profiles", "profiles", liked, persons)
    lanes, absent = setup.lanes("profiles", matrix=matrix)
    plan = replace(setup.plan, rounds=min(setup.plan.rounds, _ROUNDS), runs=1, seconds=0.0, warm=0.0)
    result = race(lanes, [heat], plan, setup.folder, setup.tell)
    samples, outputs = result.samples[heat.name], result.outputs[heat.name]
    rows: list[Row] = []
    for name, rounds in samples.items():
        row = {"case": heat.name, "contender": name, **columns(rounds, None)}
        row["per second"] = round(1e3 * persons / row["p50_ms"])
        if name != _ONE_BY_ONE and _ONE_BY_ONE in samples:
            against = ratio(rounds, samples[_ONE_BY_ONE])
            same = recall(np.load(outputs[_ONE_BY_ONE]), np.load(outputs[name]))
            row |= {"ratio": against.value, "low": against.low, "high": against.high, "same answers": same}
        rows.append(row)
    note = f"{persons} people who like {_LIKES} products each, among {products}; ratio: median over that of one by one."
    return [Table("people", "Many people at once", COLUMNS, rows, [note], result.skipped | absent)]
