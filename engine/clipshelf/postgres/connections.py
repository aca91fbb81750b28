"""Connections to PostgreSQL that outlive a restart of the server, killed sessions, and forks of this process.

A thread that needs a connection opens it by itself. psycopg_pool opens connections in threads of its own, after pauses
that double with each failure, and a query would wait for them.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from pgvector.psycopg import register_vector
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clipshelf.display import describe
from clipshelf.errors import CatalogueError, InputError
from clipshelf.forks import call_in_child, never_destroy_in_child

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Result = TypeVar("Result")

PATIENCE = 10.0  # seconds
_MOST = 8  # connections
_PAUSE = 0.05  # seconds, after a connection that could not be opened
_SHORTEST_TIMEOUT = 2  # seconds of an attempt to connect, the least that libpq takes


class Connections:
    """Up to eight connections to one database.

    - `dsn`: what libpq takes, such as postgresql://user@host/database; "" for its environment variables.
    - `patience`: for how many seconds from its first failure on some work is tried again, which takes connections that
      break and those that cannot be opened.

    Raises InputError unless `patience` is a positive number.
    """

    def __init__(self, dsn: str, patience: float = PATIENCE) -> None:
        if not isinstance(patience, (int, float)) or not 0 < patience < math.inf:
            raise InputError(f"patience: expected a positive number of seconds, found {describe(patience)}")
        self._dsn, self._patience = dsn, patience
        self._adapters: AdaptersMap | None = None  # what a connection learned of pgvector, for those after it
        self._start_anew()
        call_in_child(self, Connections._start_anew)

    def _start_anew(self) -> None:
        """Have no connections; a forked child leaves those of its parent to the parent."""
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(_MOST)
        self._lock = threading.Lock()

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run some work in a transaction that only reads, again where its connection breaks or cannot be opened.

        Raises CatalogueError where the database refuses, or cannot be reached for as long as the patience lasts.
        """
        deadline = math.inf
        while True:
            try:
                with self._borrowed(deadline) as connection, _told(connection), connection.transaction():
                    return work(connection)
            except _Interruption as interruption:
                deadline = min(deadline, interruption.since + self._patience)
                if time.monotonic() >= deadline:
                    raise CatalogueError(
                        f"postgres: expected an answer within {self._patience:g} s, found: {interruption}"
                    ) from None
                time.sleep(interruption.pause)

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        with self._lock:
            closed, self._idle = self._idle, []
        for connection in closed:
            connection.close()

    @contextmanager
    def _borrowed(self, deadline: float) -> Iterator[Connection]:
        """A connection that nobody else uses; it is kept for the next unless it broke."""
        if not self._free.acquire(timeout=self._patience):
            raise CatalogueError(
                f"postgres: expected one of {_MOST} connections to be free within {self._patience:g} s, found none"
            )
        try:
            with self._lock:
                idle = self._idle
                connection = idle.pop() if idle else None
            if connection is None:
                connection = self._open(min(self._patience, deadline - time.monotonic()))
            try:
                yield connection
            finally:
                with self._lock:
                    stays = idle is self._idle and not connection.closed
                    if stays:
                        idle.append(connection)
                if not stays:
                    connection.close()
        finally:
            self._free.release()

    def _open(self, seconds: float) -> Connection:
        """Open a connection within some seconds, one that notices within the patience that its server is gone."""
        start = time.monotonic()
        try:
            connection = psycopg.connect(_with_limits(self._dsn, seconds, self._patience), context=self._adapters)
        except psycopg.OperationalError as error:
            raise _Interruption(error_line(error), start, _PAUSE) from None
        except psycopg.Error as error:
            raise CatalogueError(f"postgres: {error_line(error)}") from None
        never_destroy_in_child(connection)
        try:
            with _told(connection):
                register(connection)
                self._adapters = connection.adapters
        except BaseException:
            connection.close()
            raise
        return connection


class _Interruption(Exception):
    """Work that may succeed when it is tried again.

    - `since`: when the trouble began, by `time.monotonic`.
    - `pause`: before the next try, in seconds.
    """

    def __init__(self, reason: str, since: float, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.since, self.pause = since, pause


@contextmanager
def _told(connection: Connection) -> Iterator[None]:
    """Tell errors of the database as an interruption, or as a CatalogueError where another try would end as this."""
    try:
        yield
    except psycopg.errors.UndefinedTable:
        raise CatalogueError(
            "postgres: expected the table of the catalogue, found that it was replaced; open it again"
        ) from None
    except psycopg.Error as error:
        # A replica cancels what reads rows that its primary has removed (SerializationFailure).
        if connection.closed or isinstance(error, psycopg.errors.SerializationFailure):
            raise _Interruption(error_line(error), time.monotonic()) from None
        raise CatalogueError(f"postgres: {error_line(error)}") from None


def _with_limits(dsn: str, to_connect: float, patience: float) -> str:
    """An address with limits of time by which a lost server is noticed, where the user sets none.

    - `to_connect`: seconds for an attempt to connect.
    """
    given: dict[str, Any] = conninfo_to_dict(dsn)
    if "PGCONNECT_TIMEOUT" not in os.environ:
        given.setdefault("connect_timeout", max(_SHORTEST_TIMEOUT, math.ceil(to_connect)))
    given.setdefault("tcp_user_timeout", 1000 * math.ceil(patience))  # milliseconds
    given.setdefault("keepalives_idle", max(1, int(patience / 2)))
    given.setdefault("keepalives_interval", 1)
    return make_conninfo(**given)


def connect(dsn: str) -> Connection:
    """Open one connection; raises CatalogueError where that fails."""
    try:
        connection = psycopg.connect(dsn)
    except psycopg.Error as error:
        raise CatalogueError(f"postgres: expected a database, found: {error_line(error)}") from None
    return connection


def register(connection: Connection) -> None:
    """Teach a connection the types of pgvector, and let its index look further where a filter lets little through.

    It costs two statements where the connection knows the types from another.
    """
    try:
        loaded = connection.execute("select '[0]'::vector").fetchone()  # loads pgvector, which declares its settings
        if loaded == ("[0]",):
            register_vector(connection)
        # Versions before 0.8 lack it.
        connection.execute(
            "select set_config(name, 'relaxed_order', false) from pg_settings where name = 'hnsw.iterative_scan'"
        )
        connection.commit()
    except psycopg.ProgrammingError:
        raise CatalogueError("postgres: expected the extension vector (pgvector) in the database, found none") from None


def error_line(error: psycopg.Error) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split())
