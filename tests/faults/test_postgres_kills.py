"""Sessions of PostgreSQL that are killed cost no answer, and a server that is gone costs a stated time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.errors import CatalogueError
from support import tiny
from support.postgres_server import server
from support.same_answers import DIM, facts, union

pytest.importorskip("psycopg", reason="needs psycopg and pgvector, of the extra postgres")
pytest.importorskip("pgvector", reason="needs psycopg and pgvector, of the extra postgres")

import psycopg
from clipshelf.postgres.catalogue import PostgresCatalogue
from clipshelf.postgres.connections import Connection, Connections
from clipshelf.postgres.recommender import PostgresRecommender
from clipshelf.postgres.tables import export_catalogue
from psycopg.conninfo import make_conninfo

TEXTS = ["red", "green shoe", "blue", "warm shirt"]
KILL_ANY = (
    "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where pid <> pg_backend_pid() "
    "and backend_type = 'client backend' order by random() limit 1) as any_one"
)


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with server() as address:
        yield address


@contextmanager
def kills_at_random(dsn: str, mean: float, answered: list[Any]) -> Iterator[list[bool]]:
    """Kill a session at random, again and again, `mean` seconds apart; yields whether each kill met one.

    There is at most one kill for each of the growing number of answers: on a loaded machine, where a query takes longer
    than sessions live, none would ever be answered.
    """
    ended, met = threading.Event(), list[bool]()

    def kill() -> None:
        rng = np.random.default_rng(4)
        with psycopg.connect(dsn, autocommit=True) as killer:
            while not ended.wait(rng.exponential(mean)):
                if len(met) <= len(answered):
                    met.append(killer.execute(KILL_ANY).fetchone() == (True,))

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield met
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_sessions_killed_at_random_cost_no_answer(tmp_path: Path, dsn: str, search: str) -> None:
    engine = Engine.load(tiny.write_artifact(tmp_path, dim=DIM))
    export_catalogue(union(engine, 200, seed=15, share=0.0, words=()), dsn, "shot", index=True)
    with closing(PostgresCatalogue(dsn, "shot", search=search)) as catalogue:
        recommender = PostgresRecommender(engine, catalogue)
        expected = [facts(recommender.recommend(text)) for text in TEXTS]
        answered: list[bool] = []

        def ask(number: int) -> None:
            answered.append(facts(recommender.recommend(TEXTS[number % 4])) == expected[number % 4])

        with kills_at_random(dsn, 0.01, answered) as met, ThreadPoolExecutor(4) as threads:
            list(threads.map(ask, range(100)))
    assert answered == [True] * 100
    assert sum(met) > 5


KILL_THIS = "select pg_terminate_backend(pg_backend_pid())"
# As a replica does it whose primary has removed what a statement reads.
CANCEL_AS_REPLICA = "do $$ begin raise exception 'conflict with recovery' using errcode = '40001'; end $$"


@pytest.mark.parametrize("trouble", [KILL_THIS, CANCEL_AS_REPLICA])
def test_work_survives_twenty_kills_in_a_row_without_growing_pauses(dsn: str, trouble: LiteralString) -> None:
    calls = []

    def work(connection: Connection) -> int:
        calls.append(connection)
        if len(calls) <= 20:
            connection.execute(trouble)
        connection.execute("select 1")
        return len(calls)

    start = time.monotonic()
    with closing(Connections(dsn)) as connections:
        assert connections.read(work) == 21
    assert time.monotonic() - start < 5


def test_a_server_that_refuses_is_told_in_time_and_used_again_when_it_is_back(dsn: str) -> None:
    name = "sometimes"
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(f"create database {name}")
        address = make_conninfo(dsn, dbname=name)
        with psycopg.connect(address) as there:
            there.execute("create extension vector")
        with closing(Connections(address, patience=0.3)) as connections:
            assert connections.read(_one) == 1
            owner.execute(f"alter database {name} allow_connections false")
            owner.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            start = time.monotonic()
            with pytest.raises(CatalogueError, match=r"^postgres: expected an answer within 0.3 s, found: [^\n]+$"):
                connections.read(_one)
            assert 0.3 <= time.monotonic() - start < 2
            owner.execute(f"alter database {name} allow_connections true")
            assert connections.read(_one) == 1
        owner.execute(f"drop database {name}")


def test_a_server_that_never_answers_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        start = time.monotonic()
        with pytest.raises(CatalogueError, match=r"expected an answer within 0\.5 s, found: connection timeout"):
            Connections(address, patience=0.5).read(_one)
    assert 0.5 <= time.monotonic() - start < 4  # libpq waits for two seconds at the least


def _one(connection: Connection) -> int:
    [(one,)] = connection.execute("select 1")
    return int(one)
