"""A soak: does the memory of a process that answers thousands of calls of mixed sizes keep growing?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.contenders.clipshelf_mixed import MOST_PHOTOS, MOST_TEXTS, ClipshelfMixed
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.process import ContenderError, Process, prepare
from clipshelf_bench.result import Plot, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.checkpoint import dimension
from clipshelf_bench.subjects.subject import Subject

CALLS, CALLS_AMONG_OTHERS, CALLS_QUICK = 20_000, 1_000, 40
COLUMNS = ("calls", "rss_mb", "growth_percent", "highest_mb")
# What is allocated once, for the largest of every kind of call, is there after so many.
_WARM, _WARM_SHARE = 200, 10
_LOOKS = 10
_PRODUCTS = 1000
_PHOTOS = ((40, 60), (224, 224), (640, 480), (480, 640), (1000, 1000), (1600, 1200), (1000, 300))


def soak(setup: Setup) -> list[Table]:
    """Resident memory of our process over `--calls` calls of mixed sizes, and its growth after warming up."""
    calls = setup.calls
    photos = _photos(setup.folder / "mixed")
    tables = []
    for subject in setup.subjects:
        rows, skipped = _rows(setup, subject, photos, calls)
        note = (
            f"Both towers in one process: single sentences, batches of 1 to {MOST_TEXTS} texts, a quarter of them long "
            f"reviews, batches of 1 to {MOST_PHOTOS} photos from 40x60 to 1600x1200, and queries of a text and a photo "
            f"among {_PRODUCTS} products. 1e6 bytes; growth: since the first row, after warming up; highest: of all "
            "so far, between the rows too."
        )
        plot = Plot(f"soak-{subject.name}", "Resident memory over mixed calls", "line", "calls", "rss_mb", "contender")
        title = f"Memory over mixed calls: {subject.name}"
        tables.append(Table("soak", title, COLUMNS, rows, [note], skipped, [plot]))
    return tables


def _rows(setup: Setup, subject: Subject, photos: Path, calls: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row per look at the memory; without any, why."""
    name = ClipshelfMixed.name
    reason = prepare(ClipshelfMixed, subject.record, setup.plan.threads)
    if reason:
        return [], {name: reason}
    warm = min(max(_WARM, calls // _WARM_SHARE), calls // 2)
    looks = sorted({int(look) for look in np.linspace(warm, calls, _LOOKS + 1)} - {0})
    matrix = setup.matrix(_PRODUCTS, 2 * dimension(subject))
    rows: list[dict[str, Any]] = []
    with Process(ClipshelfMixed, setup.plan.threads) as process:
        try:
            process.ask(do="open", task="mixed", threads=setup.plan.threads, subject=subject.record, matrix=matrix)
            for start, look in pairwise([0, *looks]):
                setup.tell(f"soak: {subject.name}: {look} of {calls} calls")
                count = look - start
                process.ask(do="run", task="mixed", input=photos, batch=len(_PHOTOS), count=count, seconds=0)
                rows.append(_look(process, rows, look))
        except ContenderError as error:
            return rows, {name: str(error)}
    return rows, {}


def _look(process: Process, before: list[dict[str, Any]], calls: int) -> dict[str, Any]:
    found = process.ask(do="memory")
    resident = found["rss_mb"]
    growth = 100 * (resident / (before[0]["rss_mb"] if before else resident) - 1)
    row = {"case": f"{calls} calls", "contender": ClipshelfMixed.name, "calls": calls}
    return row | {"rss_mb": resident, "growth_percent": growth, "highest_mb": found["peak_mb"]}


def _photos(folder: Path) -> Path:
    """JPEG files of mixed sizes in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate(_PHOTOS):
        inputs.picture(rng, width, height).save(folder / f"{i:03}.jpg", quality=90)
    return folder
