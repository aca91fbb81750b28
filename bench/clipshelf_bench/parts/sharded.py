"""What ranking in shards and in a database costs on one machine."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from clipshelf import Catalogue, ClipshelfError, Engine, MissingExtra, Recommender
from clipshelf.recommend.recommender import StoreRecommender
from clipshelf.scale.ray_runtime import connected, load_ray
from clipshelf.scale.ray_shards import RayShards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split

from clipshelf_bench.bench import Bench
from clipshelf_bench.datasets.clustered import WORDS, clustered_catalogue
from clipshelf_bench.postgres_server import running_server
from clipshelf_bench.tables import Table, TableRow

DSN_VARIABLE = "CLIPSHELF_BENCH_DSN"

_SHARDS = (1, 2, 4)
_PRODUCTS, _PRODUCTS_QUICK = 20_000, 2_000
_TURNS, _TURNS_QUICK = 4, 1
# Queries of a contender in a row. The first ones fill caches that the contender before it has emptied.
_IN_A_ROW, _UNCOUNTED = 16, 6


def sharded(bench: Bench) -> list[Table]:
    """Ranking by 1, 2 and 4 shards and by PostgreSQL against one recommender."""
    try:
        load_ray()
    except MissingExtra as error:
        return [Table("sharded", "Shards", (), [], skipped={"ray": str(error)})]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipshelf-bench-")))
        engine = Engine.load(threads=1)
        catalogue = clustered_catalogue(engine, _PRODUCTS_QUICK if bench.quick else _PRODUCTS)
        stack.enter_context(connected(None))
        bench.notify("opening shards and databases")
        contenders, skipped = _contenders(engine, catalogue, folder, stack)
        bench.notify("ranking")
        ranking = _rank(contenders, len(catalogue), _TURNS_QUICK if bench.quick else _TURNS)
    return [
        Table(
            "sharded",
            f"Ranking {len(catalogue):,} products in shards and databases",
            ("contender", "like_ms", "more_for_a_like_ms", "text_ms", "more_for_a_text_ms", "recall"),
            ranking,
            [
                f"One like or one text, 10 products, all on this machine, one thread a search. Each contender answers "
                f"{_IN_A_ROW} queries of each kind in a row, of which the last {_IN_A_ROW - _UNCOUNTED} count; "
                f"medians. Recall is the share of the ids of one recommender."
            ],
            skipped=skipped,
        ),
    ]


def _contenders(
    engine: Engine, catalogue: Catalogue, folder: Path, stack: ExitStack
) -> tuple[dict[str, StoreRecommender], dict[str, str]]:
    """What ranks, by name, which `stack` closes; and why others are missing."""
    contenders: dict[str, StoreRecommender] = {"one recommender": Recommender(engine, catalogue)}
    for count in _SHARDS:
        shards = split(catalogue, folder / f"shards-{count}", count)
        contenders[f"{count} shards in this process"] = ShardedRecommender(engine, shards)
        actors = stack.enter_context(closing(RayShards(shards, cpus=0.01)))
        contenders[f"{count} shards in actors of Ray"] = ShardedRecommender(engine, shards, actors)
    try:
        contenders |= _in_postgres(engine, catalogue, stack)
    except (ClipshelfError, OSError, subprocess.SubprocessError) as error:
        return contenders, {"PostgreSQL": str(error)}
    return contenders, {}


def _in_postgres(engine: Engine, catalogue: Catalogue, stack: ExitStack) -> dict[str, StoreRecommender]:
    """The catalogue in PostgreSQL, searched exactly and by an index."""
    try:
        from clipshelf.postgres.catalogue import SEARCHES, PostgresCatalogue
        from clipshelf.postgres.recommender import PostgresRecommender
        from clipshelf.postgres.tables import export_catalogue
    except ImportError as error:
        raise MissingExtra(f"expected the packages of the extra postgres, found no {error.name}") from error
    dsn = stack.enter_context(running_server(os.environ.get(DSN_VARIABLE)))
    export_catalogue(catalogue, dsn, "clipshelf_bench", index=True)
    opened = {
        search: stack.enter_context(closing(PostgresCatalogue(dsn, "clipshelf_bench", search=search)))
        for search in SEARCHES
    }
    return {f"PostgreSQL, {search}": PostgresRecommender(engine, each) for search, each in opened.items()}


def _rank(contenders: Mapping[str, StoreRecommender], count: int, turns: int) -> list[TableRow]:
    """Medians of all contenders, which answer the same queries in turn, and their recall."""
    times: dict[tuple[str, str], list[float]] = {}
    ids: dict[tuple[str, int], set[str]] = {}
    for turn in range(turns):
        for name, recommender in contenders.items():
            for position in range(_IN_A_ROW):
                number = turn * _IN_A_ROW + position
                queries: dict[str, dict[str, Any]] = {
                    "like": {"liked": [str(number * 37 % count)]},
                    "text": {"text": f"{WORDS[number % 10]} {number}"},
                }
                for kind, query in queries.items():
                    started = time.perf_counter()
                    answer = recommender.recommend(**query)
                    if position >= _UNCOUNTED:
                        times.setdefault((name, kind), []).append(1e3 * (time.perf_counter() - started))
                    if kind == "like":
                        ids[name, number] = {item.id for item in answer}
    first = next(iter(contenders))
    return [_row(name, first, times, ids) for name in contenders]


def _row(
    name: str, first: str, times: Mapping[tuple[str, str], list[float]], ids: Mapping[tuple[str, int], set[str]]
) -> TableRow:
    """The medians of a contender, also beyond those of the first, and the share of its ids that the contender has."""
    row: dict[str, object] = {"case": "rank", "contender": name}
    for kind in ("like", "text"):
        row[f"{kind}_ms"] = median(times[name, kind])
        row[f"more_for_a_{kind}_ms"] = median(times[name, kind]) - median(times[first, kind])
    found = [
        (len(of_query & ids[name, number]), len(of_query)) for (who, number), of_query in ids.items() if who == first
    ]
    row["recall"] = sum(hits for hits, _ in found) / sum(size for _, size in found)
    return row
