"""What a process costs: cold start to the first answer, memory, size on disk."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from clipshelf_bench.child import ContenderError, Process
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.harness import Heat, Lane
from clipshelf_bench.parts.timing import OURS
from clipshelf_bench.result import Plot, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.stats import columns
from clipshelf_bench.subject import Subject, size_on_disk

_STARTS, _STARTS_QUICK = 6, 2
_CALLS, _CALLS_QUICK = 20, 2


def cold_start(setup: Setup) -> list[Table]:
    """From starting Python to the first embedding of a picture and of a sentence, files in the page cache."""
    tables = []
    for subject in setup.subjects:
        times, skipped = _starts(setup, subject)
        rows: list[dict[str, Any]] = [
            {"case": "cold start", "contender": name, **columns(rounds, times.get(OURS))}
            for name, rounds in times.items()
        ]
        rows.sort(key=lambda row: float(row["p50_ms"]))
        plots = [Plot(f"cold-start-{subject.name}", "Cold start", "bar", "contender", "p50_ms", "part")]
        note = "From starting Python to the first embedding of a picture and of a sentence; files in the page cache."
        names = ("contender", "p50_ms", "p95_ms", "ratio")
        tables.append(Table("cold-start", f"Cold start: {subject.name}", names, rows, [note], skipped, plots))
    return tables


def _starts(setup: Setup, subject: Subject) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Milliseconds of each contender's starts, a round each, and who fell out."""
    ready, skipped = setup.able(subject, "photos", "image")
    times: dict[str, list[list[float]]] = {contender.name: [] for contender in ready}
    # Round 0 brings the files into the page cache, where no part before has, and does not count.
    cold = [contender for contender in ready if not Lane(contender, subject.record).ran(setup.folder)]
    order = np.random.default_rng(setup.plan.seed)
    for number in range(1 + (_STARTS_QUICK if setup.quick else _STARTS)):
        entered = ready if number else cold
        for i in order.permutation(len(entered)):
            name = entered[i].name
            if name in skipped:
                continue
            setup.tell(f"cold start: round {number}, {name}")
            try:
                times[name].append([1e3 * _first_answers(setup, subject, entered[i])])
            except ContenderError as error:
                skipped[name] = str(error)
        if number == 0:
            times = {name: [] for name in times}
    return {name: rounds for name, rounds in times.items() if name not in skipped}, skipped


def memory(setup: Setup) -> list[Table]:
    """Resident memory with both towers open and after many batches, and bytes on disk."""
    tables = []
    calls = _CALLS_QUICK if setup.quick else _CALLS
    for subject in setup.subjects:
        ready, skipped = setup.able(subject, "photos", "image")
        full = size_on_disk(subject.checkpoint) if subject.checkpoint else None
        rows = []
        for contender in ready:
            setup.tell(f"memory: {contender.name}")
            try:
                found = _resident(setup, subject, contender, calls) | _shipped(subject, contender, full)
            except ContenderError as error:
                skipped[contender.name] = str(error)
                continue
            rows.append({"case": "memory", "contender": contender.name, **found})
        note = (
            f"1e6 bytes. ready: both towers answered once; after: {calls} more batches of 8 pictures; peak: the "
            "highest of all. disk: files that a deployment ships; disk share: of the fp32 checkpoint's folder."
        )
        names = ("contender", "ready_mb", "after_mb", "peak_mb", "disk_mb", "disk_share")
        plot = Plot(f"memory-{subject.name}", "Peak memory", "bar", "contender", "peak_mb", "case")
        tables.append(Table("memory", f"Memory and disk: {subject.name}", names, rows, [note], skipped, [plot]))
    return tables


def both_tasks(setup: Setup, subject: Subject, contender: type[Contender]) -> list[Heat]:
    """A picture task and a text task that the contender does: from bytes and words where it can, else from arrays."""
    lane = Lane(contender, subject.record)
    pictures = (setup.photo_heat(1), setup.image_heat(subject, 1))
    texts = (setup.sentence_heat(1), setup.text_heat(subject, 12, 1))
    found = (next((heat for heat in heats if lane.enters(heat)), None) for heats in (pictures, texts))
    return [heat for heat in found if heat is not None]


def _answer(process: Process, heat: Heat, subject: Subject, threads: int) -> None:
    """Open a task and do it once."""
    process.ask(do="open", task=heat.task, threads=threads, subject=subject.record, matrix=None)
    process.ask(do="run", task=heat.task, input=heat.input, batch=1, count=1, seconds=0)


def _first_answers(setup: Setup, subject: Subject, contender: type[Contender]) -> float:
    """Seconds from starting the process to both answers."""
    heats = both_tasks(setup, subject, contender)
    start = time.perf_counter()
    with Process(contender, setup.plan.threads) as process:
        for heat in heats:
            _answer(process, heat, subject, setup.plan.threads)
        return time.perf_counter() - start


def _resident(setup: Setup, subject: Subject, contender: type[Contender], calls: int) -> dict[str, Any]:
    """Memory of a process that answers once, then in batches."""
    heats = both_tasks(setup, subject, contender)
    with Process(contender, setup.plan.threads) as process:
        for heat in heats:
            _answer(process, heat, subject, setup.plan.threads)
        ready = process.ask(do="memory")
        process.ask(do="run", task=heats[0].task, input=heats[0].input, batch=8, count=calls, seconds=0)
        after = process.ask(do="memory")
    return {"ready_mb": ready["rss_mb"], "after_mb": after["rss_mb"], "peak_mb": after["peak_mb"]}


def _shipped(subject: Subject, contender: type[Contender], full: int | None) -> dict[str, float]:
    """Size on disk, and its share of the checkpoint's."""
    folder = contender().disk(subject)
    if folder is None or not folder.is_dir():
        return {}
    size = size_on_disk(folder)
    return {"disk_mb": size / 1e6} | ({"disk_share": size / full} if full else {})
