"""Cost curves: what a call costs as batch, tokens, threads and products grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from clipshelf_bench.parts import ranking
from clipshelf_bench.parts.limit import limit_table
from clipshelf_bench.race.harness import Heat, Plan, race
from clipshelf_bench.race.stats import columns, exponent
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.subject import Subject

_SHOWN = ("clipshelf", "openvino-int8", "ort-dynamic-int8")
_RANKERS = (*ranking.OURS, "numpy", "faiss-flat")
_BATCHES, _BATCHES_QUICK = (1, 2, 4, 8, 16, 32), (1, 8)
_LENGTHS, _LENGTHS_QUICK = (4, 8, 16, 32, 64, 128, 256), (16,)
_PRODUCTS, _PRODUCTS_QUICK = (1_000, 10_000, 100_000, 1_000_000), (10_000, 100_000)
_ROUNDS, _ROUNDS_QUICK = 5, 3
_TITLES = {"batch": "Pictures in a batch", "tokens": "Tokens of a sentence", "threads": "Threads, one picture"}
_LABELS = {"batch": "pictures", "tokens": "tokens", "threads": "threads", "products": "products"}
# Below this a ranking is mostly overhead, and a power law says nothing.
_LEAST_PRODUCTS = 10_000


def scaling(setup: Setup) -> list[Table]:
    """Curves of the towers for every subject, of ranking once, and the bounds."""
    towers = [(subject, _tower_points(setup, subject)) for subject in setup.subjects]
    products = _product_points(setup)
    tables = [
        _curve_table(f"{title}: {subject.name}", f"{curve}-{subject.name}", [r for r in rows if r["curve"] == curve])
        for subject, rows in towers
        for curve, title in _TITLES.items()
    ]
    tables.append(_curve_table("Products, one query", "products", products, least=_LEAST_PRODUCTS))
    return [*tables, limit_table(setup, towers, products)]


def _tower_points(setup: Setup, subject: Subject) -> list[Row]:
    """A row per point of every curve and contender."""
    batches = _BATCHES_QUICK if setup.quick else _BATCHES
    shorter = _LENGTHS_QUICK if setup.quick else _LENGTHS
    lengths = [*(length for length in shorter if length < subject.tokens), subject.tokens]
    threads = sorted({1, setup.plan.threads} | {2**i for i in range(8) if 2**i < setup.plan.threads})
    heats = {("batch", batch): setup.image_heat(subject, batch) for batch in batches}
    heats |= {("tokens", length): setup.text_heat(subject, length, 1) for length in lengths}
    rows = _raced(setup, subject, heats, setup.plan.threads)
    alone = [row for row in rows if (row["curve"], row["x"]) == ("batch", 1)]
    for count in threads:
        if count == setup.plan.threads:
            rows += [{**row, "case": f"threads {count}", "curve": "threads", "x": count} for row in alone]
        else:
            rows += _raced(setup, subject, {("threads", count): setup.image_heat(subject, 1)}, count)
    return rows


def _raced(setup: Setup, subject: Subject, heats: Mapping[tuple[str, int], Heat], threads: int) -> list[Row]:
    lanes = [lane for lane in setup.lanes("image", "text", subject=subject)[0] if lane.name in _SHOWN]
    plan = replace(_plan(setup), threads=threads)
    result = race(lanes, list(heats.values()), plan, setup.folder, setup.tell, save=False)
    return [
        _point(curve, x, name, rounds)
        for (curve, x), heat in heats.items()
        for name, rounds in result.samples[heat.name].items()
    ]


def _product_points(setup: Setup) -> list[Row]:
    rows: list[Row] = []
    for size in _PRODUCTS_QUICK if setup.quick else _PRODUCTS:
        heat = ranking.rank_heat(setup, size)
        result = ranking.rank_race(setup, size, [heat], _plan(setup), _RANKERS, save=False)
        rows += [_point("products", size, name, rounds) for name, rounds in result.samples[heat.name].items()]
    return rows


def _plan(setup: Setup) -> Plan:
    """A curve has many points: fewer and shorter rounds for each."""
    return replace(setup.plan, rounds=_ROUNDS_QUICK if setup.quick else _ROUNDS, runs=1)


def _point(curve: str, x: int, name: str, rounds: list[list[float]]) -> Row:
    return {"case": f"{curve} {x}", "curve": curve, "x": x, "contender": name, **columns(rounds, None)}


def _curve_table(title: str, name: str, rows: Sequence[Row], least: int = 0) -> Table:
    """Points of a curve by contender, and the exponent fitted to each contender's."""
    table: list[Row] = []
    for contender in dict.fromkeys(row["contender"] for row in rows):
        own = sorted((row for row in rows if row["contender"] == contender), key=lambda row: float(row["x"]))
        fitted = [(row["x"], row["p50_ms"]) for row in own if row["x"] >= least]
        table += own[:-1]
        table.append({**own[-1], **({"exponent": exponent(*zip(*fitted, strict=True))} if len(fitted) > 1 else {})})
    note = "exponent: slope of log time over log x by least squares; 1 is linear growth, 0 is free."
    if least:
        note += f" Points below {least} are left out of the fit."
    label = _LABELS[name.partition("-")[0]]
    plot = Plot(f"scaling-{name}", title, "line", "x", "p50_ms", "contender", log=True, label=label)
    return Table("scaling", title, ("contender", "x", "p50_ms", "p95_ms", "exponent"), table, [note], {}, [plot])
