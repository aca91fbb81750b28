"""What a process costs: memory, and size on disk."""

from __future__ import annotations

from typing import Any

from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.race.harness import Heat, Lane
from clipshelf_bench.race.process import ContenderError, Process
from clipshelf_bench.result import Plot, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.subject import Subject, size_on_disk

_CALLS, _CALLS_QUICK = 20, 1


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


def answer_once(process: Process, heat: Heat, subject: Subject, threads: int) -> None:
    """Open a task and do it once."""
    process.ask(do="open", task=heat.task, threads=threads, subject=subject.record)
    process.ask(do="run", task=heat.task, input=heat.input, batch=1, count=1, seconds=0)


def _resident(setup: Setup, subject: Subject, contender: type[Contender], calls: int) -> dict[str, Any]:
    """Memory of a process that answers once, then in batches."""
    heats = both_tasks(setup, subject, contender)
    with Process(contender, setup.plan.threads) as process:
        for heat in heats:
            answer_once(process, heat, subject, setup.plan.threads)
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
