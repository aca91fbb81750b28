"""Is the vision tower kept fed? Photos through the engine against the graph alone on pixels that are ready.

The engine decodes in threads ahead of the model. With one thread for the model, decoding has the other cores to itself;
with all of them it shares theirs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.harness import Heat
from clipshelf_bench.race.process import ContenderError, Process, prepare
from clipshelf_bench.race.stats import ratio, summarise
from clipshelf_bench.result import Row, Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.subject import Subject

COLUMNS = ("photos", "threads", "graph_ms", "p50_ms", "share", "low", "high")
BATCH = 8
_EDGES = (1000, 480)
_DIFFERENT = 8
_COUNT, _COUNT_QUICK = 64, 24
_ROUNDS, _ROUNDS_QUICK = 5, 2


def feeding_table(setup: Setup, subject: Subject) -> Table:
    """The share of the graph's own batch throughput that many photos in one call of the engine reach."""
    count = _COUNT_QUICK if setup.quick else _COUNT
    edges = _EDGES[:1] if setup.quick else _EDGES
    heats = [Heat(f"{edge}x{edge}", "photos", _photos(setup.folder, edge, count), count) for edge in edges]
    rows: list[Row] = []
    reason = prepare(Clipshelf, subject.record, setup.plan.threads)
    for threads in () if reason else sorted({1, 1 if setup.quick else setup.plan.threads}):
        setup.tell(f"{subject.name}: photos against the graph, {threads} threads")
        try:
            rows += _rows(setup, subject, heats, threads)
        except ContenderError as error:
            reason = str(error)
    note = (
        f"{count} JPEG files in one call of embed_images, and the vision graph on {BATCH} squares of ready pixels, in "
        "turn in one process; ms are per picture. share: of the graph's throughput, with its 95% bootstrap interval. "
        "threads: of the model; photos are decoded by as many as there are CPUs."
    )
    title = f"Photos against the graph alone: {subject.name}"
    return Table("throughput", title, COLUMNS, rows, [note], {Clipshelf.name: reason} if reason else {})


def _rows(setup: Setup, subject: Subject, heats: list[Heat], threads: int) -> list[Row]:
    graph = setup.image_heat(subject, BATCH)
    found: dict[str, list[list[float]]] = {heat.name: [] for heat in (graph, *heats)}
    calls = {graph.name: heats[0].batch // BATCH}
    with Process(Clipshelf, threads) as process:
        for task in (graph.task, heats[0].task):
            process.ask(do="open", task=task, threads=threads, subject=subject.record)
        # round 0 warms up
        for number in range(1 + (_ROUNDS_QUICK if setup.quick else _ROUNDS)):
            for heat in (graph, *heats):
                asked = {"task": heat.task, "input": heat.input, "batch": heat.batch, "seconds": 0}
                took = process.ask(do="run", count=calls.get(heat.name, 1), **asked)["ms"]
                if number:
                    found[heat.name].append([sum(took) / heats[0].batch])
    return [_row(heat.name, threads, found[graph.name], found[heat.name]) for heat in heats]


def _row(photos: str, threads: int, graph: list[list[float]], fed: list[list[float]]) -> Row:
    share = ratio(graph, fed)
    times = {"graph_ms": summarise(graph).p50, "p50_ms": summarise(fed).p50}
    case = {"case": f"photos {photos}, {threads} threads", "contender": Clipshelf.name}
    shares = {"share": share.value, "low": share.low, "high": share.high}
    return case | {"photos": photos, "threads": threads} | times | shares


def _photos(folder: Path, edge: int, count: int) -> Path:
    """`count` JPEG files of which some are the same, since making pictures takes longer than embedding them."""
    photos = folder / f"photos-{edge}"
    if not photos.is_dir():
        different = sorted(inputs.write_photos(photos, min(_DIFFERENT, count), edge, seed=6).iterdir())
        for number in range(len(different), count):
            shutil.copy(different[number % len(different)], photos / f"{number:03}.jpg")
    return photos
