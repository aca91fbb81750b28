"""Load on HTTP: what `clipshelf serve` answers beside what people write, and what waits, is refused or lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.bench import PHOTO_EDGE, Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS
from clipshelf_bench.datasets.inputs import random_sentences
from clipshelf_bench.load.client import Outcome, Plan
from clipshelf_bench.load.process import ServiceError, ServiceProcess, free_port, send
from clipshelf_bench.load.services import SERVICES, Ground, LoadedService, Wish
from clipshelf_bench.stats import ratio
from clipshelf_bench.subjects.checkpoint import embedding_dim
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Table, TableRow

CLIENTS = 32
_PRODUCTS = 10_000
_LIKES = 4
_BODIES = 96
_SEED = 13
_CLIENTS, _CLIENTS_QUICK = (1, 4, 16, 32, 64), (1, 32)
_CASES = ("text", "photo", "both", "likes")
_CASE_OF_CLIENTS = "both"
_RATES = (0.5, 2.0)  # of what the service answers in a closed loop
_SECONDS, _SECONDS_QUICK = 3.0, 1.0
_ROUNDS, _ROUNDS_QUICK = 3, 1
_CLOSED_COLUMNS = ("case", "contender", "per second", "p50_ms", "p95_ms", "p99_ms", "p99 / p50", "ratio", "lost")
_OPEN_COLUMNS = ("case", "contender", "sent", "answered", "refused", "lost", "p50_ms", "p99_ms", "refused p99_ms")
_MEMORY_COLUMNS = ("contender", "rss_mb", "highest_mb")


def service_load(bench: Bench) -> list[Table]:
    """HTTP services under load: throughput and times of 1 to 64 clients, overload, memory."""
    return [table for subject in bench.subjects for table in _tables(bench, subject)]


def ground_of(bench: Bench, subject: Subject) -> Ground:
    """What services of this run are started on."""
    matrix = bench.matrix_file(_PRODUCTS, 2 * embedding_dim(subject))
    return Ground(subject, matrix, bench.folder, bench.options.threads)


def wishes(bench: Bench, case: str) -> list[Wish]:
    """Different requests of a case, which all services get in the same order."""
    rng = np.random.default_rng(_SEED)
    texts = list(dict.fromkeys(random_sentences(10 * _BODIES, _SEED)))[:_BODIES]
    photos = [base64.b64encode(file.read_bytes()).decode() for file in sorted(bench.photos_folder().iterdir())]
    likes = rng.integers(0, _PRODUCTS, (_BODIES, _LIKES)).astype(str).tolist()
    return [
        Wish(
            text=texts[i % len(texts)] if case in ("text", "both") else None,
            image=photos[i % len(photos)] if case in ("photo", "both") else None,
            liked=likes[i] if case == "likes" else (),
        )
        for i in range(_BODIES)
    ]


@dataclass(frozen=True)
class _Running:
    """A service that runs, and the files of bodies by case."""

    service: LoadedService
    process: ServiceProcess
    bodies: Mapping[str, Path]

    def plan(self, case: str, seconds: float, clients: int | None, rate: float = 0.0) -> Plan:
        """A plan of requests of a case."""
        return Plan(self.process.port, self.service.path, str(self.bodies[case]), seconds, clients, rate=rate)


def _tables(bench: Bench, subject: Subject) -> Iterator[Table]:
    skipped: dict[str, str] = {}
    with _running(bench, subject, skipped) as services:
        yield _closed_table(bench, subject, services, skipped)
        yield _clients_table(bench, subject, services)
        yield _open_table(bench, subject, services)
        rows = [{"contender": each.service.name, **each.process.memory_mb()} for each in services]
    title = f"Memory of the services after that: {subject.name}"
    yield Table("service-load", title, _MEMORY_COLUMNS, rows, ["1e6 bytes, resident."])


@contextmanager
def _running(bench: Bench, subject: Subject, skipped: dict[str, str]) -> Iterator[list[_Running]]:
    """The services that can be started; `skipped` gets why others cannot."""
    ground = ground_of(bench, subject)
    with ExitStack() as stack:
        services = []
        for service in (each() for each in SERVICES):
            bench.notify(f"{subject.name}: starting {service.name}")
            try:
                services.append(_start(bench, service, ground, stack))
            except ServiceError as error:
                skipped[service.name] = str(error)
        yield services


def _start(bench: Bench, service: LoadedService, ground: Ground, stack: ExitStack) -> _Running:
    """Start a service, and ask it for each case until it is warm. Raises ServiceError."""
    reason = service.prepare(ground)
    if reason is not None:
        raise ServiceError(reason)
    bodies = {case: _write_bodies(bench, service, case) for case in service.cases}
    port = free_port()
    process = stack.enter_context(ServiceProcess(service.command(ground, port), port, ground.threads))
    running = _Running(service, process, bodies)
    for case in service.cases:
        warm = send(running.plan(case, bench.options.warm, 4), bench.folder)
        if not warm.ms:
            raise ServiceError(f"expected answers to {case}, found {warm.statuses}")
    return running


def _write_bodies(bench: Bench, service: LoadedService, case: str) -> Path:
    path = bench.folder / f"bodies-{service.name}-{case}.json"
    if not path.is_file():
        path.write_text(json.dumps([service.body(wish) for wish in wishes(bench, case)]))
    return path


def _closed_table(bench: Bench, subject: Subject, services: Sequence[_Running], skipped: dict[str, str]) -> Table:
    rows = [row for case in _CASES for row in _closed_rows(bench, services, case, CLIENTS)]
    note = (
        f"{CLIENTS} clients on the loopback, each of which sends its next request when it has its answer. The clients "
        f"share the processors with the services. Ten of {_PRODUCTS} products; a photo is a {PHOTO_EDGE}x{PHOTO_EDGE} "
        f"JPEG in base64, likes are {_LIKES} ids. ratio: answers per second of {OURS} over the service's. lost: "
        "requests without an answer, or with another status than 200."
    )
    return Table("service-load", f"Requests per second: {subject.name}", _CLOSED_COLUMNS, rows, [note], skipped)


def _clients_table(bench: Bench, subject: Subject, services: Sequence[_Running]) -> Table:
    counts = _CLIENTS_QUICK if bench.quick else _CLIENTS
    rows = [row for count in counts for row in _closed_rows(bench, services, _CASE_OF_CLIENTS, count)]
    title = f"Clients: {subject.name}"
    note = f"The same with more and fewer clients; requests have {_CASE_OF_CLIENTS} a text and a photo."
    return Table("service-load", title, _CLOSED_COLUMNS, rows, [note])


def _closed_rows(bench: Bench, services: Sequence[_Running], case: str, clients: int) -> list[TableRow]:
    """A row for each service that answers the case; the services take turns in random order."""
    entered = [each for each in services if case in each.bodies]
    outcomes: dict[str, list[Outcome]] = {each.service.name: [] for each in entered}
    order = np.random.default_rng(bench.options.seed)
    seconds = _SECONDS_QUICK if bench.quick else _SECONDS
    for _ in range(_ROUNDS_QUICK if bench.quick else _ROUNDS):
        for i in order.permutation(len(entered)):
            each = entered[i]
            bench.notify(f"{case}, {clients} clients: {each.service.name}")
            outcomes[each.service.name].append(send(each.plan(case, seconds, clients), bench.folder))
    return [_closed_row(f"{case}, {clients} clients", name, outcomes) for name in outcomes]


def _closed_row(case: str, name: str, outcomes: Mapping[str, Sequence[Outcome]]) -> TableRow:
    throughputs = {other: _throughputs(rounds) for other, rounds in outcomes.items()}
    per_second = float(np.median(throughputs[name]))
    row: dict[str, Any] = {"case": case, "contender": name, "per second": per_second, **_percentiles(outcomes[name])}
    if per_second:
        row["p99 / p50"] = row["p99_ms"] / row["p50_ms"]
        if OURS in outcomes and name != OURS:
            over = ratio([[value] for value in throughputs[OURS]], [[value] for value in throughputs[name]])
            row |= {"ratio": over.value, "low": over.low, "high": over.high}
    return row | {"lost": sum(outcome.requests - len(outcome.ms) for outcome in outcomes[name])}


def _throughputs(outcomes: Sequence[Outcome]) -> list[float]:
    """Answers per second of each round."""
    return [len(outcome.ms) / outcome.seconds for outcome in outcomes]


def _percentiles(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Times of all rounds together; none where nothing was answered."""
    times = np.concatenate([outcome.ms for outcome in outcomes])
    if not times.size:
        return {}
    return {f"p{percent}_ms": float(np.percentile(times, percent)) for percent in (50, 95, 99)}


def _open_table(bench: Bench, subject: Subject, services: Sequence[_Running]) -> Table:
    seconds = _SECONDS_QUICK if bench.quick else 2 * _SECONDS
    rows = []
    for each in services:
        case = _CASE_OF_CLIENTS if _CASE_OF_CLIENTS in each.bodies else "photo"
        (capacity,) = _throughputs([send(each.plan(case, seconds, CLIENTS), bench.folder)])
        for share in _RATES:
            bench.notify(f"{share:g} of its throughput: {each.service.name}")
            outcome = send(each.plan(case, seconds, None, share * capacity), bench.folder)
            rows.append(_open_row(f"{case}, {share:g} of {capacity:.0f} per second", each.service.name, outcome))
    note = (
        "Requests at random times, whether or not there are answers, at half and at twice the rate that the service "
        "answered just before. Times count from the moment at which a request was due. lost: no answer within 15 s, "
        "or a connection that broke."
    )
    return Table("service-load", f"Overload: {subject.name}", _OPEN_COLUMNS, rows, [note])


def _open_row(case: str, name: str, outcome: Outcome) -> TableRow:
    row: dict[str, Any] = {"case": case, "contender": name, "sent": outcome.requests, "answered": len(outcome.ms)}
    row |= {"refused": len(outcome.refused_ms)}
    row["lost"] = outcome.requests - row["answered"] - row["refused"]
    row |= _percentiles([outcome])
    return row | ({"refused p99_ms": float(np.percentile(outcome.refused_ms, 99))} if outcome.refused_ms else {})
