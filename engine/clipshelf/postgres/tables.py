"""A catalogue written to tables.

`clipshelf_catalogues` has a line for each catalogue: its name, the table of its products, the table that was there
before, and its manifest. A catalogue is written to a table of its own, with those of its words beside it, and one step
makes it the current one. Who still reads the table before goes on; it is removed by the write after.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from pgvector import HalfVector, Vector
from psycopg import sql

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.display import describe
from clipshelf.errors import CatalogueError, InputError
from clipshelf.postgres.columns import StoredColumn, check_text, stored_columns
from clipshelf.postgres.connections import Connection, connect, error_line, register
from clipshelf.postgres.manifest import TableManifest, tables_of
from clipshelf.postgres.word_tables import write_words
from clipshelf.recommend.calibration import side_patterns
from clipshelf.types import Progress

PRECISIONS = ("vector", "halfvec")
_INDEXED_UP_TO = {"vector": 2_000, "halfvec": 4_000}  # dimensions that pgvector's HNSW takes
_STORED_UP_TO = 16_000
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_ROWS_AT_A_TIME = 1_000


def export_catalogue(
    catalogue: Catalogue,
    dsn: str,
    name: str,
    *,
    precision: str = "vector",
    index: bool = False,
    progress: Progress | None = None,
) -> TableManifest:
    """Write a catalogue to a database, in one step; it replaces one of the same name.

    - `dsn`: what libpq takes; "" for its environment variables.
    - `name`: of the catalogue there, lower-case letters, digits and underscores.
    - `precision`: "vector" keeps float32; "halfvec" takes half the space, and scores differ by about 1e-3.
    - `index`: whether to build an HNSW index, for searches that are not exact.
    - `progress`: called with the number of products written and of all.

    Raises InputError for arguments and products that the database cannot hold, and CatalogueError where it fails.
    """
    _check(catalogue, name, precision, index)
    columns = stored_columns(catalogue)
    manifest = TableManifest(
        f"clipshelf_{name}_{secrets.token_hex(4)}",
        catalogue.fingerprint,
        len(catalogue),
        catalogue.dim,
        precision,
        index,
        catalogue.statistics,
        catalogue.relevance_curve,
        dict(catalogue.columns.items()),
        {column: stored.column for column, stored in columns.items()},
        None if catalogue.words is None else catalogue.words.mean_length,
    )
    try:
        with connect(dsn) as connection:
            connection.execute("create extension if not exists vector")
            register(connection)
            with connection.transaction():
                _create(connection, manifest)
                _copy(connection, manifest, catalogue, columns, progress)
                if catalogue.words is not None:
                    write_words(connection, manifest, catalogue.words)
                _publish(connection, manifest, name)
    except psycopg.Error as error:
        raise CatalogueError(f"postgres: {error_line(error)}") from error
    return manifest


def _check(catalogue: Catalogue, name: str, precision: str, index: bool) -> None:
    width = 2 * catalogue.dim
    if not _NAME.fullmatch(name):
        raise InputError(f"name: expected lower-case letters, digits and underscores, up to 41, found {describe(name)}")
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {describe(precision)}")
    most = _INDEXED_UP_TO[precision] if index else _STORED_UP_TO
    if width > most:
        raise InputError(
            f"index: expected up to {most:,} dimensions of both sides for a {precision}{' with HNSW' if index else ''}"
            f", found {width:,}"
        )


def _create(connection: Connection, manifest: TableManifest) -> None:
    """Make the empty table."""
    extra = [sql.SQL(", {} {}").format(sql.Identifier(c.name), sql.SQL(c.type)) for c in manifest.columns.values()]
    extra += [sql.SQL(", {} float8").format(sql.Identifier(c.number)) for c in manifest.columns.values() if c.number]
    statement = sql.SQL(
        'create table {} (row bigint not null, id text collate "C" not null, sides smallint not null, '
        "embedding {}({}) not null, record text not null{})"
    ).format(
        sql.Identifier(manifest.table),
        sql.SQL(manifest.precision),
        sql.Literal(2 * manifest.dim),
        sql.Composed(extra),
    )
    connection.execute(statement)
    # pgvector keeps embeddings outside of the rows, where each costs a search of its own, and the planner does not see
    # their size. PostgreSQL still does so where a row does not fit into a page.
    inline = sql.SQL("alter table {} alter column embedding set storage main")
    connection.execute(inline.format(sql.Identifier(manifest.table)))


def _copy(
    connection: Connection,
    manifest: TableManifest,
    catalogue: Catalogue,
    columns: dict[str, StoredColumn],
    progress: Progress | None,
) -> None:
    """Fill the table, then make its keys and index."""
    table = sql.Identifier(manifest.table)
    names = ["row", "id", "sides", "embedding", "record", *(stored.column.name for stored in columns.values())]
    names += [stored.column.number for stored in columns.values() if stored.column.number]
    types = ["int8", "text", "int2", manifest.precision, "text"]
    types += [stored.column.type.removesuffix(' COLLATE "C"') for stored in columns.values()]
    types += ["float8" for stored in columns.values() if stored.column.number]
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("copy {} ({}) from stdin with (format binary)").format(table, listed)) as copy,
    ):
        copy.set_types(types)
        for done, line in enumerate(_lines(manifest, catalogue, list(columns.values())), 1):
            copy.write_row(line)
            if progress is not None and (done % _ROWS_AT_A_TIME == 0 or done == len(catalogue)):
                progress(done, len(catalogue))
    connection.execute(sql.SQL("alter table {} add primary key (row), add unique (id)").format(table))
    # Products that lack a side are mostly few, and each query searches for them by themselves.
    connection.execute(sql.SQL("create index on {} (sides)").format(table))
    if manifest.indexed:
        operators = sql.SQL(f"{manifest.precision}_ip_ops")
        connection.execute(sql.SQL("create index on {} using hnsw (embedding {})").format(table, operators))
    connection.execute(sql.SQL("analyze {}").format(table))


def _lines(manifest: TableManifest, catalogue: Catalogue, columns: list[StoredColumn]) -> Iterator[tuple[Any, ...]]:
    """The values of each product in the order of the table's columns."""
    patterns = side_patterns(catalogue.present).tolist()
    make = Vector if manifest.precision == "vector" else HalfVector
    with_numbers = [stored.numbers for stored in columns if stored.column.number]
    for start in range(0, len(catalogue), _ROWS_AT_A_TIME):
        rows = range(start, min(start + _ROWS_AT_A_TIME, len(catalogue)))
        for row, record in zip(rows, catalogue.records(rows), strict=True):
            check_text(record["id"])
            embedding = make(np.asarray(catalogue.embeddings[row]))
            fixed = (row, record["id"], patterns[row], embedding, json.dumps(record))
            values = [stored.values[row] for stored in columns]
            yield (*fixed, *values, *(numbers[row] for numbers in with_numbers))


def _publish(connection: Connection, manifest: TableManifest, name: str) -> None:
    """Make the table the current one of the catalogue, and remove the one before the last."""
    connection.execute(
        "create table if not exists clipshelf_catalogues "
        "(name text primary key, current text not null, before text, manifest text not null)"
    )
    connection.execute("lock table clipshelf_catalogues in share row exclusive mode")
    found = connection.execute("select current, before from clipshelf_catalogues where name = %s", [name]).fetchone()
    current, before = found or (None, None)
    connection.execute(
        "insert into clipshelf_catalogues values (%s, %s, %s, %s) on conflict (name) do update set "
        "current = excluded.current, before = excluded.before, manifest = excluded.manifest",
        [name, manifest.table, current, manifest.to_json()],
    )
    if before is not None:
        tables = map(sql.Identifier, tables_of(before))
        connection.execute(sql.SQL("drop table if exists {}").format(sql.SQL(", ").join(tables)))
