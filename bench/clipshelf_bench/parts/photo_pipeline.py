"""Photos through the engine against the vision graph alone: does decoding keep the graph busy?

The engine decodes photos in threads ahead of the graph. When the graph has one thread, decoding has the other CPUs;
when the graph has all of them, both share.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS, Clipshelf
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.cases import Case, Entry
from clipshelf_bench.race.process import ContenderError, ContenderProcess, prepare_contender
from clipshelf_bench.stats import ratio, summarise
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Table, TableRow

_COLUMNS = ("photos", "threads", "graph_ms", "p50_ms", "share", "low", "high")
_GRAPH_BATCH = 8
_EDGES = (1000, 480)
_DIFFERENT_PHOTOS = 8
_PHOTOS, _PHOTOS_QUICK = 64, 24
_ROUNDS, _ROUNDS_QUICK = 5, 2
_SEED = 6


def photo_pipeline_table(bench: Bench, subject: Subject) -> Table:
    """The share of the graph's throughput that many photos in one call of the engine reach."""
    count = _PHOTOS_QUICK if bench.quick else _PHOTOS
    edges = _EDGES[:1] if bench.quick else _EDGES
    cases = [Case(f"{edge}x{edge}", "photos", _write_photos(bench.folder, edge, count), count) for edge in edges]
    rows: list[TableRow] = []
    reason = prepare_contender(Clipshelf, subject.record, bench.options.threads)
    for threads in () if reason else sorted({1, 1 if bench.quick else bench.options.threads}):
        bench.notify(f"{subject.name}: photos against the graph, {threads} threads")
        try:
            rows += _rows(bench, subject, cases, threads)
        except ContenderError as error:
            reason = str(error)
    note = (
        f"{count} JPEG files in one call of embed_images, and the vision graph on {_GRAPH_BATCH} squares of ready "
        "pixels, in turn in one process; ms are per picture. share: of the graph's throughput, with its 95% bootstrap "
        "interval. threads: of the model; photos are decoded by as many as there are CPUs."
    )
    title = f"Photos against the graph alone: {subject.name}"
    return Table("throughput", title, _COLUMNS, rows, [note], {OURS: reason} if reason else {})


def _rows(bench: Bench, subject: Subject, cases: list[Case], threads: int) -> list[TableRow]:
    """Time the graph and all cases in each round; a row per case."""
    graph, photos = bench.image_case(subject, _GRAPH_BATCH), cases[0].batch
    calls = {graph.name: photos // _GRAPH_BATCH}
    per_photo: dict[str, list[list[float]]] = {case.name: [] for case in (graph, *cases)}
    with ContenderProcess(Entry(Clipshelf, subject.record), threads) as process:
        for case in (graph, cases[0]):
            process.open(case.task)
        # Round 0 warms up.
        for number in range(1 + (_ROUNDS_QUICK if bench.quick else _ROUNDS)):
            for case in (graph, *cases):
                times = process.time_calls(case, count=calls.get(case.name, 1))
                if number:
                    per_photo[case.name].append([sum(times) / photos])
    return [_row(case.name, threads, per_photo[graph.name], per_photo[case.name]) for case in cases]


def _row(photos: str, threads: int, graph: list[list[float]], pipeline: list[list[float]]) -> TableRow:
    share = ratio(graph, pipeline)
    return {
        "case": f"photos {photos}, {threads} threads",
        "contender": OURS,
        "photos": photos,
        "threads": threads,
        "graph_ms": summarise(graph).p50,
        "p50_ms": summarise(pipeline).p50,
        "share": share.value,
        "low": share.low,
        "high": share.high,
    }


def _write_photos(folder: Path, edge: int, count: int) -> Path:
    """A folder of `count` JPEG files, of which a few differ: making a picture takes longer than embedding it."""
    photos = folder / f"photos-{edge}"
    if not photos.is_dir():
        different = sorted(inputs.write_photos(photos, min(_DIFFERENT_PHOTOS, count), edge, _SEED).iterdir())
        for number in range(len(different), count):
            shutil.copy(different[number % len(different)], photos / f"{number:03}.jpg")
    return photos
