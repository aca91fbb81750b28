"""What a process costs: cold start to the first answer, memory, size on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.harness import ContenderError, Heat, Lane, Process
from clipshelf_bench.result import Plot, Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import Rounds, ratio, summarise
from clipshelf_bench.subject import Subject, size_on_disk

OURS = "clipshelf"
_CALLS = 40


def cold_start(setup: Setup) -> list[Table]:
    """From starting Python to the first embedding of a picture and of a sentence, files in the page cache."""
    tables = []
    for subject in setup.subjects:
        ready, skipped = setup.able(subject, "photos", "image")
        times: dict[str, list[list[float]]] = {contender.name: [] for contender in ready}
        order = np.random.default_rng(setup.plan.seed)
        for number in range(1 + (2 if setup.quick else 9)):
            setup.tell(f"cold start: round {number}")
            for i in order.permutation(len(ready)):
                seconds = _guard(ready[i], skipped, partial(_first_answers, setup, subject, ready[i]))
                # The first round brings the files into the page cache and does not count.
                if seconds is not None and number:
                    times[ready[i].name].append([1e3 * seconds])
        rows = _ratios({name: rounds for name, rounds in times.items() if rounds and name not in skipped})
        plots = [Plot(f"cold-start-{subject.name}", "Cold start", "bar", "contender", "p50_ms", "part")]
        note = "From starting Python to the first embedding of a picture and of a sentence; files in the page cache."
        title = f"Cold start: {subject.name}"
        columns = ("contender", "p50_ms", "p95_ms", "ratio", "low", "high")
        tables.append(Table("cold-start", title, columns, rows, [note], skipped, plots))
    return tables


def memory(setup: Setup) -> list[Table]:
    """Resident memory with both towers open and after many batches, and bytes on disk."""
    tables = []
    for subject in setup.subjects:
        ready, skipped = setup.able(subject, "photos", "image")
        full = size_on_disk(subject.checkpoint) if subject.checkpoint else None
        rows = []
        for contender in ready:
            setup.tell(f"memory: {contender.name}")
            found = _guard(contender, skipped, partial(_memory_row, setup, subject, contender))
            if found is not None:
                if full and "disk_mb" in found:
                    found["disk_share"] = found["disk_mb"] * 1e6 / full
                rows.append({"case": "memory", "contender": contender.name, **found})
        note = (
            f"1e6 bytes. ready: both towers answered once; after: {_CALLS} more batches of 8 pictures; peak: the "
            "highest of all. disk: files that a deployment ships; disk_share: against the fp32 checkpoint's folder."
        )
        columns = ("contender", "ready_mb", "after_mb", "peak_mb", "disk_mb", "disk_share")
        plot = Plot(f"memory-{subject.name}", "Peak memory", "bar", "contender", "peak_mb", "case")
        tables.append(Table("memory", f"Memory and disk: {subject.name}", columns, rows, [note], skipped, [plot]))
    return tables


def both_tasks(setup: Setup, subject: Subject, contender: type[Contender]) -> list[tuple[Lane, Heat]]:
    """A picture task and a text task that the contender does: from bytes and words where it can, else from arrays."""
    openers, record = contender().openers(), subject.folder / "subject.json"
    image = ("photos", setup.photo_heat(1)) if "photos" in openers else ("image", setup.image_heat(subject, 1))
    text = (
        ("sentences", setup.sentence_heat(1)) if "sentences" in openers else ("text", setup.text_heat(subject, 12, 1))
    )
    return [(Lane(contender, task, record), heat) for task, heat in (image, text) if task in openers]


def _first_answers(setup: Setup, subject: Subject, contender: type[Contender]) -> float:
    tasks = both_tasks(setup, subject, contender)
    start = time.perf_counter()
    with Process(contender, setup.plan.threads) as process:
        for lane, heat in tasks:
            process.open(lane, setup.plan.threads)
            process.ask(do="run", task=lane.task, input=heat.input, batch=1, count=1, seconds=0)
        return time.perf_counter() - start


def _memory_row(setup: Setup, subject: Subject, contender: type[Contender]) -> dict[str, float]:
    with Process(contender, setup.plan.threads) as process:
        tasks = both_tasks(setup, subject, contender)
        for lane, heat in tasks:
            process.open(lane, setup.plan.threads)
            process.ask(do="run", task=lane.task, input=heat.input, batch=1, count=1, seconds=0)
        ready = process.ask(do="memory")
        lane, heat = tasks[0]
        count = _CALLS // (4 if setup.quick else 1)
        process.ask(do="run", task=lane.task, input=heat.input, batch=8, count=count, seconds=0)
        after = process.ask(do="memory")
    row = {"ready_mb": ready["rss_mb"], "after_mb": after["rss_mb"], "peak_mb": after["peak_mb"]}
    folder = contender().disk(subject)
    return row | ({"disk_mb": size_on_disk(folder) / 1e6} if folder and folder.is_dir() else {})


def _guard(contender: type[Contender], skipped: dict[str, str], step: Callable[[], Any]) -> Any:
    """The step's result; None, and the reason noted, where the contender fails."""
    try:
        return step()
    except ContenderError as error:
        skipped[contender.name] = str(error)
        return None


def _ratios(times: dict[str, Rounds] | dict[str, list[list[float]]]) -> list[Row]:
    rows = []
    for name, rounds in times.items():
        summary = summarise(rounds)
        row: dict[str, Any] = {"case": "cold start", "contender": name, "p50_ms": summary.p50, "p95_ms": summary.p95}
        if name != OURS and OURS in times:
            against = ratio(times[OURS], rounds)
            row |= {"ratio": against.value, "low": against.low, "high": against.high}
        rows.append(row)
    return sorted(rows, key=lambda row: float(row["p50_ms"]))
