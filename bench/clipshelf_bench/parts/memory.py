"""What a process costs: resident memory, and size on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.parts.first_call import picture_and_text_cases, run_once
from clipshelf_bench.race.cases import Entry
from clipshelf_bench.race.process import ContenderError, ContenderProcess
from clipshelf_bench.subjects.subject import Subject, size_on_disk
from clipshelf_bench.tables import Plot, Table, TableRow

_COLUMNS = ("contender", "ready_mb", "after_mb", "peak_mb", "disk_mb", "disk_share")
_BATCH = 8
_CALLS, _CALLS_QUICK = 20, 1


def memory(bench: Bench) -> list[Table]:
    """Resident memory with both towers open and after many batches, and bytes on disk."""
    tables = []
    calls = _CALLS_QUICK if bench.quick else _CALLS
    for subject in bench.subjects:
        contenders, skipped = bench.ready_contenders(subject, "photos", "image")
        checkpoint_bytes = size_on_disk(subject.checkpoint) if subject.checkpoint else None
        rows: list[TableRow] = []
        for contender in contenders:
            bench.notify(f"memory: {contender.name}")
            try:
                resident = _resident_columns(bench, subject, contender, calls)
            except ContenderError as error:
                skipped[contender.name] = str(error)
                continue
            disk = _disk_columns(subject, contender, checkpoint_bytes)
            rows.append({"case": "memory", "contender": contender.name, **resident, **disk})
        note = (
            f"1e6 bytes. ready: both towers answered once; after: {calls} more batches of {_BATCH} pictures; peak: the "
            "highest of all. disk: files that a deployment ships; disk share: of the fp32 checkpoint's folder."
        )
        plot = Plot(f"memory-{subject.name}", "Peak memory", "bar", "contender", "peak_mb", "case")
        title = f"Memory and disk: {subject.name}"
        tables.append(Table("memory", title, _COLUMNS, rows, [note], skipped, [plot]))
    return tables


def _resident_columns(bench: Bench, subject: Subject, contender: type[Contender], calls: int) -> dict[str, Any]:
    """Memory of a process after one picture and one text, and after batches."""
    entry = Entry(contender, subject.record)
    cases = picture_and_text_cases(bench, subject, entry)
    with ContenderProcess(entry, bench.options.threads) as process:
        for case in cases:
            run_once(process, case)
        ready = process.memory()
        process.time_calls(replace(cases[0], batch=_BATCH), count=calls)
        after = process.memory()
    return {"ready_mb": ready.resident_mb, "after_mb": after.resident_mb, "peak_mb": after.peak_mb}


def _disk_columns(subject: Subject, contender: type[Contender], checkpoint_bytes: int | None) -> dict[str, float]:
    """Size of what a deployment ships, and its share of the checkpoint's size."""
    folder = contender().shipped_folder(subject)
    if folder is None or not folder.is_dir():
        return {}
    size = size_on_disk(folder)
    return {"disk_mb": size / 1e6} | ({"disk_share": size / checkpoint_bytes} if checkpoint_bytes else {})
