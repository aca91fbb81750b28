"""A catalogue in PostgreSQL as a store of products that recommendations are answered from.

Candidates come from one statement: the fused row is the one inner product. The database sums it in float32 in its own
order, so candidates are scored again here, and more are asked for until the bound of its error proves that none is
missing. An HNSW index finds some of them only; what it finds is scored as exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from psycopg import sql

from clipshelf.cached import cached_property
from clipshelf.catalogue.contents import present_sides
from clipshelf.catalogue.filtering.conditions import Where, check_where
from clipshelf.catalogue.filtering.filter_parser import parse_where
from clipshelf.catalogue.filtering.filter_words import split_terms, to_words
from clipshelf.catalogue.filtering.relative import check_reference
from clipshelf.catalogue.ids import product_id
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import NO_PARTS, SideParts
from clipshelf.catalogue.statistics import Statistics, sample_rows
from clipshelf.display import describe
from clipshelf.errors import FingerprintMismatch, InputError
from clipshelf.model.engine import Engine
from clipshelf.postgres.connections import PATIENCE, Connection, Connections
from clipshelf.postgres.manifest import TableKinds, TableManifest, read_manifest
from clipshelf.postgres.product_lines import ProductLines
from clipshelf.postgres.search import LARGEST_EF, PatternSearch
from clipshelf.postgres.sql import FALSE, TRUE, Piece, all_of, condition_piece, piece
from clipshelf.postgres.word_tables import TableWords
from clipshelf.recommend.calibration import COMPLETE
from clipshelf.recommend.store import SAMPLE, Candidates, Search, Selection, Sides
from clipshelf.types import FloatArray, Product, Rows

SEARCHES = ("exact", "hnsw")
_OF_CANDIDATES = ("rows", "patterns", "scores")


@dataclass(frozen=True)
class RowsWhere:
    """The products of a table that a condition allows."""

    store: PostgresCatalogue
    condition: Piece
    missing: AbstractSet[int] = frozenset()

    @cached_property
    def count(self) -> int:
        """The number of these products."""
        return self.store.count(self, set())


class PostgresCatalogue:
    """N products in a database, for `StoreRecommender`. Threads may share it; it can be pickled, and survives forks.

    - `dsn`: what libpq takes, such as postgresql://user@host/database; "" for its environment variables.
    - `name`: of the catalogue there.
    - `search`: "exact", or "hnsw" for the index, which may miss some of the best products.
    - `candidates`: how many of them an HNSW search looks at, up to 1,000.
    - `patience`: for how many seconds a query whose connections break is tried again.

    `columns` has the kind of each column by name, as filters see them.

    Raises CatalogueError where the database or the catalogue is not there, InputError for arguments that do not fit.
    """

    def __init__(
        self, dsn: str, name: str, *, search: str = "exact", candidates: int = 200, patience: float = PATIENCE
    ) -> None:
        if search not in SEARCHES:
            raise InputError(f"search: expected one of {', '.join(SEARCHES)}, found {describe(search)}")
        if not 1 <= candidates <= LARGEST_EF:
            raise InputError(f"candidates: expected 1 to {LARGEST_EF}, found {describe(candidates)}")
        self._arguments = (dsn, name, search, candidates, patience)
        self._search_by, self._candidates = search, candidates
        self._connections = Connections(dsn, patience)
        try:
            self._manifest: TableManifest = self._connections.read(partial(read_manifest, name=name))
            if search == "hnsw" and not self._manifest.indexed:
                raise InputError("search: expected a catalogue with an index for hnsw, found one without")
        except BaseException:
            self.close()
            raise
        self._table = sql.Identifier(self._manifest.table)
        self._lines = ProductLines(self._connections, self._manifest)
        self._found_patterns: list[int] = []
        self.columns: Mapping[str, str] = TableKinds(self._manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        dsn, name, search, candidates, patience = self._arguments
        return partial(type(self), search=search, candidates=candidates, patience=patience), (dsn, name)

    def __len__(self) -> int:
        return self._manifest.count

    def close(self) -> None:
        """Close the connections; the next use opens others."""
        self._connections.close()

    def require(self, engine: Engine) -> None:
        """Raise FingerprintMismatch unless `engine` has the model that embedded the products."""
        if engine.fingerprint != self._manifest.fingerprint:
            raise FingerprintMismatch(
                f"expected the model that embedded the catalogue, fingerprint {self._manifest.fingerprint}, found one "
                f"with {engine.fingerprint}"
            )

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self._manifest.dim

    @property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        return self._manifest.statistics

    @property
    def words(self) -> TableWords | None:
        """What the index of words says of all products, None without one."""
        length = self._manifest.mean_length
        return None if length is None else TableWords(self._manifest, length, self._connections.read)

    @property
    def relevance_curve(self) -> RelevanceCurve | None:
        """What was fitted to the shop's own queries."""
        return self._manifest.relevance_curve

    def sample(self) -> FloatArray:
        """Embeddings (n, 2D) of products evenly spaced over the rows."""
        return self.fetch(sample_rows(len(self), SAMPLE)).embeddings

    def find(self, ids: Sequence[str]) -> Rows:
        """The (n,) rows of n ids, -1 for one that is not there."""
        return self._lines.find([id_ if type(id_) is str else product_id(id_) for id_ in ids])

    def select(self, where: Where | str | None) -> RowsWhere:
        """The products that a filter lets through, all for None; raises InputError."""
        return RowsWhere(self, TRUE if where is None else self._condition(self.parsed(where)))

    def count_passing(self, where: Where | str) -> dict[str, int]:
        """How many products each term of a filter lets through."""
        parsed = self.parsed(where)
        self._condition(parsed)  # checks it before it is split
        return {to_words(term): self.select(term).count for term in split_terms(parsed)}

    def parsed(self, where: Where | str) -> Where:
        """A filter in words as a dict of conditions; raises InputError."""
        return parse_where(where, self.columns) if isinstance(where, str) else where

    def value(self, row: int, name: str) -> Any:
        """The value of one product that `it.NAME` stands for; raises InputError."""
        check_reference(self.columns, name)
        if name == "id":
            return self.records(np.array([row]))[0]["id"]
        [value] = self.group_values(name, np.array([row]))
        if value is None:
            raise InputError(f"where: it.{name}: expected a product that has a {name}, found one without")
        return value

    def count(self, selection: Selection, excluded: AbstractSet[int]) -> int:
        """The number of products of a selection that are not excluded."""
        condition = self._of(selection)
        if condition is TRUE:
            return len(self) - len(excluded)
        [(count,)] = self._lines.select("count(*)", all_of([condition, _without(excluded)]))
        return int(count)

    def fetch(self, rows: Rows) -> Sides:
        """The sides of n products."""
        embeddings = self._lines.embeddings(rows)
        return Sides(embeddings, present_sides(embeddings))

    def parts(self, rows: Rows) -> SideParts:  # noqa: ARG002
        """None: the tables have the sides of products as a whole, and no single pictures and texts."""
        return NO_PARTS

    def records(self, rows: Rows) -> list[Product]:
        """The records of n products."""
        return self._lines.records(rows)

    def group_values(self, name: str, rows: Rows) -> list[Any]:
        """The values (n,) of a column of single values, None for a product without one."""
        return self._lines.values(name, rows)

    def without_groups(self, selection: Selection, name: str, rows: Rows) -> RowsWhere:
        """A selection without the groups, by a column, that some products belong to."""
        conditions = [self._of(selection), _without(set(rows.tolist()))]
        values = {value for value in self.group_values(name, rows) if value is not None}
        conditions += [self._condition({name: {"!=": value}}) for value in values]
        return RowsWhere(self, all_of(conditions))

    def others(self, selection: Selection, excluded: AbstractSet[int], name: str, row: int) -> RowsWhere:
        """The other products of the group of a row that a selection has and that are not excluded."""
        [value] = self.group_values(name, np.array([row]))
        same = FALSE if value is None else self._condition({name: {"==": value}})
        return RowsWhere(self, all_of([self._of(selection), same, _without({row, *excluded})]))

    def search(self, searches: Sequence[Search]) -> list[Candidates]:
        """The candidates of each search."""
        return [self._connections.read(partial(self._search, search)) for search in searches]

    def _search(self, search: Search, connection: Connection) -> Candidates:
        allowed = all_of([self._of(search.selection), _without(search.excluded)])
        candidates = 0 if self._search_by == "exact" else self._candidates
        found = [
            PatternSearch(self._manifest, search, pattern).best(connection, allowed, candidates)
            for pattern in self._patterns(connection)
        ]
        for part in found:
            self._lines.keep(part.embeddings)
        rows, patterns, scores = (np.concatenate([getattr(part, name) for part in found]) for name in _OF_CANDIDATES)
        return Candidates(rows, patterns, scores, np.concatenate([part.numbers for part in found], axis=1))

    def _patterns(self, connection: Connection) -> list[int]:
        """The patterns of sides that products have, ascending."""
        if not self._found_patterns:
            query = sql.SQL("select distinct sides from {} order by 1").format(self._table)
            self._found_patterns = [pattern for (pattern,) in connection.execute(query)] or [COMPLETE]
        return self._found_patterns

    def _condition(self, where: Where) -> Piece:
        return condition_piece(check_where(where, self.columns), self._manifest.columns)

    def _of(self, selection: Selection) -> Piece:
        """The condition of a selection of this store; raises TypeError for one of another."""
        if not isinstance(selection, RowsWhere):
            raise TypeError(f"selection: expected one of this store, found {type(selection).__name__}")
        return selection.condition


def _without(excluded: AbstractSet[int]) -> Piece:
    """All products but some rows."""
    return piece("row <> all(%s)", sorted(excluded)) if excluded else TRUE
