"""Connections to PostgreSQL that outlive a restart of the server, and forks of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import psycopg
from pgvector.psycopg import register_vector
from psycopg_pool import ConnectionPool, PoolTimeout

from clipshelf.errors import CatalogueError
from clipshelf.forks import call_in_child

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Result = TypeVar("Result")

_TRIES = 3
_WAIT = 10.0  # seconds for a connection
_MOST = 8  # connections


class Connections:
    """A pool of connections to one database.

    - `dsn`: what libpq takes, such as postgresql://user@host/database; "" for its environment variables.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: ConnectionPool[Connection] | None = None
        self._lock = threading.Lock()
        call_in_child(self, Connections._follow_fork)

    def _follow_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._pool = None
        self._lock = threading.Lock()

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run some work in a transaction that only reads, again where its connection breaks.

        Raises CatalogueError where the database cannot be reached or refuses.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                with self._opened().connection(_WAIT) as connection, connection.transaction():
                    return work(connection)
            except PoolTimeout as error:
                raise CatalogueError(f"postgres: expected a connection within {_WAIT:g} s: {error}") from None
            except psycopg.errors.UndefinedTable:
                raise CatalogueError(
                    "postgres: expected the table of the catalogue, found that it was replaced; open it again"
                ) from None
            except psycopg.OperationalError as error:
                if attempt == _TRIES or isinstance(error, psycopg.errors.QueryCanceled):
                    raise CatalogueError(f"postgres: {error_line(error)}") from None
            except psycopg.Error as error:
                raise CatalogueError(f"postgres: {error_line(error)}") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self._dsn,
                    min_size=1,
                    max_size=_MOST,
                    configure=register,
                    check=ConnectionPool.check_connection,
                    open=True,
                )
            return self._pool


def connect(dsn: str) -> Connection:
    """Open one connection; raises CatalogueError where that fails."""
    try:
        connection = psycopg.connect(dsn)
    except psycopg.Error as error:
        raise CatalogueError(f"postgres: expected a database, found: {error_line(error)}") from None
    return connection


def register(connection: Connection) -> None:
    """Teach a connection the types of pgvector, and let its index look further where a filter lets little through."""
    try:
        register_vector(connection)
        connection.execute("select '[0]'::vector")  # loads pgvector, which declares its settings
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
