"""A soak of the service: whether the memory of `clipshelf serve` stays the same over minutes of mixed requests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS
from clipshelf_bench.load.client import Plan
from clipshelf_bench.load.process import ServiceError, ServiceProcess, free_port, send
from clipshelf_bench.load.services import ClipshelfService
from clipshelf_bench.parts.service_load import ground_of, wishes
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Table, TableRow

MINUTES, MINUTES_IN_ALL, MINUTES_QUICK = 30.0, 2.0, 0.1
_ROWS = 15
_CLIENTS, _PAUSE = 4, 0.2  # seconds
_CASES = ("text", "photo", "both", "likes")
_COLUMNS = ("case", "contender", "requests", "refused", "lost", "rss_mb", "growth_percent", "highest_mb")


def service_soak(bench: Bench) -> list[Table]:
    """Resident memory of `clipshelf serve` over `--minutes` of mixed requests, and its growth after warming up."""
    return [_table(bench, subject) for subject in bench.subjects]


def _table(bench: Bench, subject: Subject) -> Table:
    service, ground = ClipshelfService(), ground_of(bench, subject)
    rows: list[TableRow] = []
    skipped: dict[str, str] = {}
    reason = service.prepare(ground)
    try:
        if reason is not None:
            raise ServiceError(reason)
        port = free_port()
        with ServiceProcess(service.command(ground, port), port, ground.threads) as process:
            seconds = 60 * bench.soak_minutes / _ROWS
            plan = Plan(port, service.path, str(_bodies(bench, service)), seconds, _CLIENTS, _PAUSE)
            for row in _rows(bench, process, plan):
                rows.append(row | {"growth_percent": 100 * (row["rss_mb"] / (rows or [row])[0]["rss_mb"] - 1)})
    except ServiceError as error:
        skipped[service.name] = str(error)
    note = (
        f"{_CLIENTS} clients that wait {_PAUSE:g} s after each answer, and ask in turn for a text, a photo, both and "
        "likes. 1e6 bytes; growth: since the first row."
    )
    return Table("service-soak", f"Memory of the service: {subject.name}", _COLUMNS, rows, [note], skipped)


def _rows(bench: Bench, process: ServiceProcess, plan: Plan) -> Iterator[dict[str, object]]:
    """Memory after each part of the time."""
    for number in range(1, _ROWS + 1):
        outcome = send(plan, bench.folder)
        minutes = number * bench.soak_minutes / _ROWS
        bench.notify(f"service-soak: {minutes:g} of {bench.soak_minutes:g} minutes")
        refused = len(outcome.refused_ms)
        yield {
            "case": f"{minutes:.3g} minutes",
            "contender": OURS,
            "requests": outcome.requests,
            "refused": refused,
            "lost": outcome.requests - len(outcome.ms) - refused,
            **process.memory_mb(),
        }


def _bodies(bench: Bench, service: ClipshelfService) -> Path:
    """The bodies of all cases, in turn."""
    path = bench.folder / "bodies-soak.json"
    by_case = [[service.body(wish) for wish in wishes(bench, case)] for case in _CASES]
    path.write_text(json.dumps(list(itertools.chain(*zip(*by_case, strict=True)))))
    return path
