"""Many shoppers at once: what `recommend_batch` saves over a call of `recommend` for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from clipshelf import Engine

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.clipshelf_profiles import ClipshelfOneByOne
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceResult, race
from clipshelf_bench.stats import ratio, recall, time_columns
from clipshelf_bench.tables import Table, TableRow

_COLUMNS = ("contender", "p50_ms", "per second", "ratio", "same answers")
_BASELINE = ClipshelfOneByOne.name
_LIKES = 8
_MAX_ROUNDS = 5
_SEED = 7


def people(bench: Bench) -> list[Table]:
    """1,000 profiles of eight likes over 100,000 products, and when quick 100 over 10,000.

    Rows are as wide as the embedded default's, and ratios are over one call for each profile.
    """
    profiles, products = (100, 10_000) if bench.quick else (1000, 100_000)
    sides = bench.matrix_file(2 * products, Engine.load().dim)
    matrix = bench.folder / f"people-{products}.npy"
    np.save(matrix, np.load(sides).reshape(products, -1))
    liked = bench.folder / "likes.npy"
    np.save(liked, np.random.default_rng(_SEED).integers(0, products, (profiles, _LIKES)))
    case = Case(f"{profiles} profiles", "profiles", liked, profiles)
    entries, skipped = bench.entries("profiles", matrix=matrix)
    options = replace(bench.options, rounds=min(bench.options.rounds, _MAX_ROUNDS), runs=1, seconds=0.0, warm=0.0)
    result = race(entries, [case], options, bench.folder, bench.notify)
    rows = [_row(result, case, name) for name in result.samples[case.name]]
    note = (
        f"{profiles} people who like {_LIKES} products each, among {products}; ratio: median over that of one by one."
    )
    return [Table("people", "Many people at once", _COLUMNS, rows, [note], result.skipped | skipped)]


def _row(result: RaceResult, case: Case, name: str) -> TableRow:
    samples, outputs = result.samples[case.name], result.outputs[case.name]
    row = {"case": case.name, "contender": name, **time_columns(samples[name], None)}
    row["per second"] = round(1e3 * case.batch / row["p50_ms"])
    if name != _BASELINE and _BASELINE in samples:
        over = ratio(samples[name], samples[_BASELINE])
        same = recall(np.load(outputs[_BASELINE]), np.load(outputs[name]))
        row |= {"ratio": over.value, "low": over.low, "high": over.high, "same answers": same}
    return row
