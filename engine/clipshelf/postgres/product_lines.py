"""Reads lines of a table of products."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from psycopg import sql

from clipshelf.last_used import LastUsed
from clipshelf.postgres.columns import from_table, is_storable
from clipshelf.postgres.connections import Connections
from clipshelf.postgres.manifest import TableManifest
from clipshelf.postgres.search import as_array
from clipshelf.postgres.sql import Piece, piece
from clipshelf.types import FloatArray, Product, Rows

_KEPT_BYTES = 1 << 26  # of embeddings that were used last


class ProductLines:
    """The lines of a table of products. Embeddings that were used last stay in memory."""

    def __init__(self, connections: Connections, manifest: TableManifest) -> None:
        self._connections, self._manifest = connections, manifest
        self._table = sql.Identifier(manifest.table)
        self._kept: LastUsed[int, FloatArray] = LastUsed(_KEPT_BYTES, lambda embedding: embedding.nbytes)

    def select(self, what: str, condition: Piece, **columns: str) -> list[tuple[Any, ...]]:
        """Lines of the table where a condition holds.

        - `what`: an SQL list, with the names of `columns` in braces.
        """
        names = {name: sql.Identifier(column) for name, column in columns.items()}
        listed = sql.SQL(what).format(**names)
        query = sql.SQL("select {} from {} where {}").format(listed, self._table, condition.text)
        return self._connections.read(
            lambda connection: connection.execute(query, condition.parameters, binary=True).fetchall()
        )

    def find(self, ids: Sequence[str]) -> Rows:
        """The (n,) rows of n ids, -1 for one that is not there."""
        found = dict(self.select("id, row", piece("id = any(%s)", list(filter(is_storable, ids)))))
        return np.array([found.get(id_, -1) for id_ in ids], np.int64)

    def embeddings(self, rows: Rows) -> FloatArray:
        """(n, 2D) embeddings of n products."""
        listed = rows.tolist()
        kept = {row: embedding for row in set(listed) if (embedding := self._kept.find(row)) is not None}
        if wanted := [row for row in set(listed) if row not in kept]:
            lines = self.select("row, embedding", piece("row = any(%s)", wanted))
            found = {row: as_array(embedding) for row, embedding in lines}
            self.keep(found)
            kept |= found
        return np.array([kept[row] for row in listed], np.float32).reshape(len(listed), 2 * self._manifest.dim)

    def keep(self, embeddings: Mapping[int, FloatArray]) -> None:
        """Keep embeddings that were seen in memory, instead of those that were used longest ago."""
        for row, embedding in embeddings.items():
            self._kept.put(row, embedding)

    def records(self, rows: Rows) -> list[Product]:
        """The records of n products."""
        found = dict(self.select("row, record", piece("row = any(%s)", rows.tolist())))
        return [json.loads(found[row]) for row in rows.tolist()]

    def values(self, name: str, rows: Rows) -> list[Any]:
        """The values (n,) of a column of single values, None for a product without one."""
        if name == "id":
            return [record["id"] for record in self.records(rows)]
        column = self._manifest.columns[name]
        found = dict(self.select("row, {column}", piece("row = any(%s)", rows.tolist()), column=column.name))
        return [from_table(column, found[row]) for row in rows.tolist()]
