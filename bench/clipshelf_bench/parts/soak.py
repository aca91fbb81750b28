"""A soak: whether the memory of a process keeps growing over thousands of calls of mixed sizes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.clipshelf_mixed import MAX_PHOTOS, MAX_TEXTS, ClipshelfMixed
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.cases import Case, Entry
from clipshelf_bench.race.process import ContenderError, ContenderProcess, Memory, prepare_contender
from clipshelf_bench.subjects.checkpoint import embedding_dim
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Plot, Table

CALLS, CALLS_IN_ALL, CALLS_QUICK = 20_000, 1_000, 40
_COLUMNS = ("calls", "rss_mb", "growth_percent", "highest_mb")
# Calls before the first row, and their least share of all calls: after these the largest call of every kind has run,
# and what is allocated once is there.
_WARM_CALLS, _WARM_FRACTION = 200, 10
_ROWS = 10
_PRODUCTS = 1000
_PHOTO_SIZES = ((40, 60), (224, 224), (640, 480), (480, 640), (1000, 1000), (1600, 1200), (1000, 300))


def soak(bench: Bench) -> list[Table]:
    """Resident memory of a clipshelf process over `--calls` calls of mixed sizes, and its growth after warming up."""
    photos = _write_photos(bench.folder / "mixed")
    tables = []
    for subject in bench.subjects:
        rows, skipped = _rows(bench, subject, photos)
        note = (
            f"Both towers in one process: single sentences, batches of 1 to {MAX_TEXTS} texts, a quarter of them long "
            f"reviews, batches of 1 to {MAX_PHOTOS} photos from 40x60 to 1600x1200, and queries of a text and a photo "
            f"among {_PRODUCTS} products. 1e6 bytes; growth: since the first row, after warming up; highest: of all "
            "so far, between the rows too."
        )
        plot = Plot(f"soak-{subject.name}", "Resident memory over mixed calls", "line", "calls", "rss_mb", "contender")
        title = f"Memory over mixed calls: {subject.name}"
        tables.append(Table("soak", title, _COLUMNS, rows, [note], skipped, [plot]))
    return tables


def _rows(bench: Bench, subject: Subject, photos: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row per measurement of memory, and why rows are missing."""
    name, calls = ClipshelfMixed.name, bench.soak_calls
    reason = prepare_contender(ClipshelfMixed, subject.record, bench.options.threads)
    if reason:
        return [], {name: reason}
    matrix = bench.matrix_file(_PRODUCTS, 2 * embedding_dim(subject))
    entry = Entry(ClipshelfMixed, subject.record, matrix)
    case = Case("mixed", "mixed", photos, len(_PHOTO_SIZES))
    rows: list[dict[str, Any]] = []
    with ContenderProcess(entry, bench.options.threads) as process:
        try:
            process.open(case.task)
            for before, after in pairwise([0, *_measuring_points(calls)]):
                bench.notify(f"soak: {subject.name}: {after} of {calls} calls")
                process.time_calls(case, count=after - before)
                rows.append(_row(after, process.memory(), rows[0]["rss_mb"] if rows else None))
        except ContenderError as error:
            return rows, {name: str(error)}
    return rows, {}


def _measuring_points(calls: int) -> list[int]:
    """Numbers of calls after which memory is measured, evenly spaced after warming up."""
    warm = min(max(_WARM_CALLS, calls // _WARM_FRACTION), calls // 2)
    return sorted({int(point) for point in np.linspace(warm, calls, _ROWS + 1)} - {0})


def _row(calls: int, memory: Memory, first_mb: float | None) -> dict[str, Any]:
    growth = 100 * (memory.resident_mb / (first_mb or memory.resident_mb) - 1)
    row = {"case": f"{calls} calls", "contender": ClipshelfMixed.name, "calls": calls}
    return row | {"rss_mb": memory.resident_mb, "growth_percent": growth, "highest_mb": memory.peak_mb}


def _write_photos(folder: Path) -> Path:
    """A folder of JPEG files of mixed sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate(_PHOTO_SIZES):
        inputs.write_photo(folder / f"{i:03}.jpg", inputs.random_picture(rng, width, height))
    return folder
