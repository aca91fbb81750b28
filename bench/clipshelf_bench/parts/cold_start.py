"""Cold start: from starting Python to the first answer of a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.bench import PHOTO_EDGE, Bench
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.contenders.clipshelf_runtime import OURS
from clipshelf_bench.datasets import inputs
from clipshelf_bench.parts.first_call import picture_and_text_cases, run_once
from clipshelf_bench.race.cases import Case, Entry
from clipshelf_bench.race.process import ContenderError, ContenderProcess
from clipshelf_bench.stats import time_columns
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Plot, Table, TableRow

_RECOMMENDATION, _EMBEDDINGS = "first recommendation", "first embeddings"
_PRODUCTS = 10
_COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "ratio")
_STARTS, _STARTS_QUICK = 6, 2


def cold_start(bench: Bench) -> list[Table]:
    """From starting Python to the first recommendation, and (not when quick) to the first embeddings."""
    query = inputs.write_query(bench.folder / "query", PHOTO_EDGE, seed=3)
    products = inputs.write_products(bench.folder / "shelf", _PRODUCTS, PHOTO_EDGE, seed=4)
    note = (
        f"From starting Python, files in the page cache. {_RECOMMENDATION}: a review and a {PHOTO_EDGE}x{PHOTO_EDGE} "
        f"JPEG to the best of {_PRODUCTS} products; clipshelf has them indexed on disk, the original embeds them each "
        f"time. {_EMBEDDINGS}: a picture and a sentence, one after the other."
    )
    tables = []
    for subject in bench.subjects:
        # Files of a subject that an earlier part of this run measured are in the page cache.
        cached = any(bench.folder.glob(f"{subject.name}--*"))
        contenders, skipped = bench.ready_contenders(subject, "recommend_files")
        start = partial(_start_recommending, bench, subject, query, products)
        rows, failed = _rows(bench, _RECOMMENDATION, contenders, start, cached=cached)
        skipped |= failed
        if not bench.quick:
            contenders, unready = bench.ready_contenders(subject, "photos", "image")
            more, failed = _rows(
                bench, _EMBEDDINGS, contenders, partial(_start_embedding, bench, subject), cached=cached
            )
            rows, skipped = [*rows, *more], skipped | unready | failed
        title = f"Cold start: {subject.name}"
        tables.append(Table("cold-start", title, _COLUMNS, rows, [note], skipped, _plots(subject)))
    return tables


def _plots(subject: Subject) -> list[Plot]:
    return [
        Plot(
            f"cold-start-{subject.name}-{i}",
            f"Cold start, {case}",
            "bar",
            "contender",
            "p50_ms",
            "case",
            where={"case": case},
        )
        for i, case in enumerate((_RECOMMENDATION, _EMBEDDINGS))
    ]


def _rows(
    bench: Bench,
    case: str,
    contenders: Sequence[type[Contender]],
    start: Callable[[type[Contender]], float],
    *,
    cached: bool,
) -> tuple[list[TableRow], dict[str, str]]:
    """A row per contender, fastest first, and why contenders failed.

    - `case`: name of the case.
    - `start`: starts a contender and returns seconds until its first answer.
    - `cached`: whether all files are in the page cache; otherwise an untimed round brings them there.
    """
    times: dict[str, list[list[float]]] = {contender.name: [] for contender in contenders}
    failed: dict[str, str] = {}
    order = np.random.default_rng(bench.options.seed)
    for number in range(1 if cached else 0, 1 + (_STARTS_QUICK if bench.quick else _STARTS)):
        for i in order.permutation(len(contenders)):
            name = contenders[i].name
            if name in failed:
                continue
            bench.notify(f"{case}: round {number}, {name}")
            try:
                seconds = start(contenders[i])
            except ContenderError as error:
                failed[name] = str(error)
                continue
            if number:
                times[name].append([1e3 * seconds])
    times = {name: rounds for name, rounds in times.items() if name not in failed}
    rows: list[dict[str, Any]] = [
        {"case": case, "contender": name, **time_columns(rounds, times.get(OURS))} for name, rounds in times.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"])), failed


def _start_recommending(
    bench: Bench, subject: Subject, query: Path, products: Path, contender: type[Contender]
) -> float:
    """Seconds from starting the process to its first recommendation."""
    case = Case(_RECOMMENDATION, "recommend_files", query, batch=2)
    start = time.perf_counter()
    with ContenderProcess(Entry(contender, subject.record, products=products), bench.options.threads) as process:
        process.open(case.task)
        process.time_calls(case)
        return time.perf_counter() - start


def _start_embedding(bench: Bench, subject: Subject, contender: type[Contender]) -> float:
    """Seconds from starting the process to the embeddings of one picture and one text."""
    entry = Entry(contender, subject.record)
    cases = picture_and_text_cases(bench, subject, entry)
    start = time.perf_counter()
    with ContenderProcess(entry, bench.options.threads) as process:
        for case in cases:
            run_once(process, case)
        return time.perf_counter() - start
