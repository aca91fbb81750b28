"""Cold start: from starting Python to the first answer of a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.datasets import inputs
from clipshelf_bench.parts.process import answer_once, both_tasks
from clipshelf_bench.parts.timing import OURS
from clipshelf_bench.race.process import ContenderError, Process
from clipshelf_bench.race.stats import columns
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import PHOTO_EDGE, Setup
from clipshelf_bench.subjects.subject import Subject

FIRST, EMBEDDINGS = "first recommendation", "first embeddings"
PRODUCTS = 10
COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "ratio")
_STARTS, _STARTS_QUICK = 6, 2


def cold_start(setup: Setup) -> list[Table]:
    """From starting Python to the first recommendation, and (not when quick) to the first embeddings."""
    query = inputs.write_query(setup.folder / "query", PHOTO_EDGE, seed=3)
    shelf = inputs.write_products(setup.folder / "shelf", PRODUCTS, PHOTO_EDGE, seed=4)
    tables = []
    for subject in setup.subjects:
        # what another part of this run has opened is in the page cache: libraries and the checkpoint's files
        warm = any(setup.folder.glob(f"{subject.name}--*"))
        able, absent = setup.able(subject, "shelf")
        rows, fallen = _rows(setup, FIRST, able, partial(_recommend, setup, subject, query, shelf), warm=warm)
        skipped = absent | fallen
        able, absent = ([], {}) if setup.quick else setup.able(subject, "photos", "image")
        more, fallen = _rows(setup, EMBEDDINGS, able, partial(_embed, setup, subject), warm=warm)
        note = (
            f"From starting Python, files in the page cache. {FIRST}: a review and a {PHOTO_EDGE}x{PHOTO_EDGE} JPEG to "
            f"the best of {PRODUCTS} products; clipshelf has them indexed on disk, the original embeds them each time. "
            f"{EMBEDDINGS}: a picture and a sentence, one after the other."
        )
        plots = [
            Plot(
                f"cold-start-{subject.name}-{i}",
                f"Cold start, {case}",
                "bar",
                "contender",
                "p50_ms",
                "case",
                where={"case": case},
            )
            for i, case in enumerate((FIRST, EMBEDDINGS))
        ]
        title = f"Cold start: {subject.name}"
        tables.append(Table("cold-start", title, COLUMNS, [*rows, *more], [note], skipped | absent | fallen, plots))
    return tables


def _rows(
    setup: Setup,
    case: str,
    able: Sequence[type[Contender]],
    start: Callable[[type[Contender]], float],
    *,
    warm: bool,
) -> tuple[list[Row], dict[str, str]]:
    """A row per contender, fastest first, and who fell out."""
    times: dict[str, list[list[float]]] = {contender.name: [] for contender in able}
    fallen: dict[str, str] = {}
    order = np.random.default_rng(setup.plan.seed)
    # Round 0 brings their files into the page cache, and does not count.
    for number in range(1 if warm else 0, 1 + (_STARTS_QUICK if setup.quick else _STARTS)):
        for i in order.permutation(len(able)):
            name = able[i].name
            if name in fallen:
                continue
            setup.tell(f"{case}: round {number}, {name}")
            try:
                seconds = start(able[i])
            except ContenderError as error:
                fallen[name] = str(error)
                continue
            if number:
                times[name].append([1e3 * seconds])
    times = {name: rounds for name, rounds in times.items() if name not in fallen}
    rows: list[dict[str, Any]] = [
        {"case": case, "contender": name, **columns(rounds, times.get(OURS))} for name, rounds in times.items()
    ]
    return sorted(rows, key=lambda row: float(row["p50_ms"])), fallen


def _recommend(setup: Setup, subject: Subject, query: Path, shelf: Path, contender: type[Contender]) -> float:
    """Seconds from starting the process to the answer."""
    start = time.perf_counter()
    with Process(contender, setup.plan.threads) as process:
        process.ask(do="open", task="shelf", threads=setup.plan.threads, subject=subject.record, shelf=shelf)
        process.ask(do="run", task="shelf", input=query, batch=2, count=1, seconds=0)
        return time.perf_counter() - start


def _embed(setup: Setup, subject: Subject, contender: type[Contender]) -> float:
    """Seconds from starting the process to both embeddings."""
    heats = both_tasks(setup, subject, contender)
    start = time.perf_counter()
    with Process(contender, setup.plan.threads) as process:
        for heat in heats:
            answer_once(process, heat, subject, setup.plan.threads)
        return time.perf_counter() - start
