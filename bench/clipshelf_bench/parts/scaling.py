"""Cost curves: what a call costs as the batch, the tokens, the threads and the products grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS, ClipshelfFunctions
from clipshelf_bench.parts.limit import limit_table
from clipshelf_bench.parts.rank import OUR_RANKERS, rank_case, rank_race
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceOptions, race
from clipshelf_bench.stats import growth_exponent, time_columns
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Plot, Table, TableRow

_TOWER_CONTENDERS = (OURS, ClipshelfFunctions.name, "openvino-int8", "ort-dynamic-int8")
_RANK_CONTENDERS = (*OUR_RANKERS, "numpy", "faiss-flat")
_BATCHES, _BATCHES_QUICK = (1, 2, 4, 8, 16, 32), (1, 8)
_LENGTHS, _LENGTHS_QUICK = (4, 8, 16, 32, 64, 128, 256), (16,)
_PRODUCTS, _PRODUCTS_QUICK = (1_000, 10_000, 100_000, 1_000_000), (10_000, 100_000)
_ROUNDS, _ROUNDS_QUICK = 5, 3
_TITLES = {"batch": "Pictures in a batch", "tokens": "Tokens of a sentence", "threads": "Threads, one picture"}
_LABELS = {"batch": "pictures", "tokens": "tokens", "threads": "threads", "products": "products"}
# Fewer products take mostly overhead, which no power law describes.
_MIN_FITTED_PRODUCTS = 10_000

# Name of the curve, and the point on its horizontal axis.
Point: TypeAlias = tuple[str, int]


def scaling(bench: Bench) -> list[Table]:
    """Curves of both towers by batch, tokens and threads, of ranking by products, and the least times."""
    towers = [(subject, _tower_rows(bench, subject)) for subject in bench.subjects]
    products = _product_rows(bench)
    tables = [
        _curve_table(f"{title}: {subject.name}", f"{curve}-{subject.name}", [r for r in rows if r["curve"] == curve])
        for subject, rows in towers
        for curve, title in _TITLES.items()
    ]
    tables.append(_curve_table("Products, one query", "products", products, fit_from=_MIN_FITTED_PRODUCTS))
    return [*tables, limit_table(bench, towers, products)]


def _tower_rows(bench: Bench, subject: Subject) -> list[TableRow]:
    """A row per point of a curve and contender."""
    batches = _BATCHES_QUICK if bench.quick else _BATCHES
    lengths = [length for length in (_LENGTHS_QUICK if bench.quick else _LENGTHS) if length < subject.tokens]
    most_threads = bench.options.threads
    cases: dict[Point, Case] = {("batch", batch): bench.image_case(subject, batch) for batch in batches}
    cases |= {("tokens", length): bench.text_case(subject, length, 1) for length in (*lengths, subject.tokens)}
    rows = _race_points(bench, subject, cases, most_threads)
    single_pictures = [row for row in rows if (row["curve"], row["x"]) == ("batch", 1)]
    for threads in sorted({1, most_threads} | {2**i for i in range(8) if 2**i < most_threads}):
        if threads == most_threads:
            point = {"case": f"threads {threads}", "curve": "threads", "x": threads}
            rows += [{**row, **point} for row in single_pictures]
        else:
            rows += _race_points(bench, subject, {("threads", threads): bench.image_case(subject, 1)}, threads)
    return rows


def _race_points(bench: Bench, subject: Subject, cases: Mapping[Point, Case], threads: int) -> list[TableRow]:
    entries, _ = bench.entries("image", "text", subject=subject)
    entries = [entry for entry in entries if entry.name in _TOWER_CONTENDERS]
    options = replace(_curve_options(bench), threads=threads)
    result = race(entries, list(cases.values()), options, bench.folder, bench.notify, save=False)
    return [
        _row(point, name, rounds) for point, case in cases.items() for name, rounds in result.samples[case.name].items()
    ]


def _product_rows(bench: Bench) -> list[TableRow]:
    """A row per number of products and ranking contender."""
    rows: list[TableRow] = []
    for size in _PRODUCTS_QUICK if bench.quick else _PRODUCTS:
        case = rank_case(bench, size)
        result = rank_race(bench, size, [case], _curve_options(bench), _RANK_CONTENDERS, save=False)
        rows += [_row(("products", size), name, rounds) for name, rounds in result.samples[case.name].items()]
    return rows


def _curve_options(bench: Bench) -> RaceOptions:
    """Fewer and shorter rounds, because a curve has many points."""
    return replace(bench.options, rounds=_ROUNDS_QUICK if bench.quick else _ROUNDS, runs=1)


def _row(point: Point, contender: str, rounds: list[list[float]]) -> TableRow:
    curve, x = point
    return {"case": f"{curve} {x}", "curve": curve, "x": x, "contender": contender, **time_columns(rounds, None)}


def _curve_table(title: str, name: str, rows: Sequence[TableRow], fit_from: int = 0) -> Table:
    """Points of a curve by contender; the last point of each has the exponent fitted to its points from `fit_from`."""
    sorted_rows: list[TableRow] = []
    for contender in dict.fromkeys(row["contender"] for row in rows):
        points = sorted((row for row in rows if row["contender"] == contender), key=lambda row: float(row["x"]))
        fitted = [(row["x"], row["p50_ms"]) for row in points if row["x"] >= fit_from]
        exponent = {"exponent": growth_exponent(*zip(*fitted, strict=True))} if len(fitted) > 1 else {}
        sorted_rows += [*points[:-1], {**points[-1], **exponent}]
    note = "exponent: slope of log time over log x by least squares; 1 is linear growth, 0 is free."
    if fit_from:
        note += f" Points below {fit_from} are left out of the fit."
    label = _LABELS[name.partition("-")[0]]
    plot = Plot(f"scaling-{name}", title, "line", "x", "p50_ms", "contender", log=True, label=label)
    return Table("scaling", title, ("contender", "x", "p50_ms", "p95_ms", "exponent"), sorted_rows, [note], {}, [plot])
