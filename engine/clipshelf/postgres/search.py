"""The best products of a table for one query and one pattern of sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pgvector import HalfVector, Vector
from psycopg import sql

from clipshelf.catalogue.lexical.word_index import K
from clipshelf.postgres.connections import Connection
from clipshelf.postgres.manifest import TableManifest
from clipshelf.postgres.sql import Piece, addition_piece, all_of, joined, piece
from clipshelf.postgres.word_tables import MATCHED, matches_piece, token_parts
from clipshelf.rank.exact import scores_of
from clipshelf.recommend.boosts import Addition, WordMatch, column_shares, weighted_sum
from clipshelf.recommend.store import Search
from clipshelf.recommend.word_matches import match_numbers, match_shares
from clipshelf.types import DoubleArray, FloatArray, Rows

LARGEST_EF = 1_000  # candidates of an HNSW search, the most that pgvector takes
_SPARE = 16  # candidates more than asked, so that one statement is mostly enough
_MORE = 4  # times as many candidates in the next statement
_ROUNDING = 2.0**-24  # of float32, relative

Lines = list[tuple[Any, ...]]  # row, embedding, and the numbers of columns that additions take


@dataclass(frozen=True)
class Found:
    """The best of n products: fields as those of `Candidates`, and their embeddings by row."""

    rows: Rows
    patterns: npt.NDArray[np.uint8]
    scores: FloatArray
    numbers: DoubleArray
    embeddings: dict[int, FloatArray]


class PatternSearch:
    """Looks for the products of one pattern of sides that are best for a query."""

    def __init__(self, manifest: TableManifest, search: Search, pattern: int) -> None:
        self._manifest = manifest
        self._pattern = pattern
        self._count = search.count
        self._all_additions = search.additions
        self._additions = [addition for addition in search.additions if isinstance(addition, Addition)]
        self._matches = [match for match in search.additions if isinstance(match, WordMatch) and match.tokens]
        scale = float(search.side_factors[pattern])
        # Scores are compared in the unit of the inner product, as `clipshelf.recommend.catalogue_store` does.
        self._row = np.zeros_like(search.row) if search.additions and scale <= 0 else search.row
        self._unit = scale if search.additions and scale > 0 else 1.0

    def best(self, connection: Connection, allowed: Piece, candidates: int) -> Found:
        """Find the best products.

        - `allowed`: the condition of the products that may be found.
        - `candidates`: how many an HNSW search looks at; 0 for an exact one. Where it finds fewer products than the
          search asks for, an exact one follows.
        """
        allowed = all_of([allowed, piece("sides = %s", self._pattern)])
        # The index knows nothing of columns, and all products are equally near to a row of zeros.
        if candidates and not self._additions and self._row.any():
            lines = self._nearest(connection, allowed, candidates)
            if self._matches:
                # Nor of words: products that have any of them are searched for exactly.
                matching, _ = self._proven(connection, allowed, "join")
                lines = list({line[0]: line for line in [*lines, *matching]}.values())
            found = self._scored(connection, lines)
            if len(found.rows) == self._count:
                return found
            # The filter lets too few of the candidates through, or there are no more products.
        return self._proven(connection, allowed, "left join")[1]

    def _proven(self, connection: Connection, allowed: Piece, join: str) -> tuple[Lines, Found]:
        """Lines among which no product is missing, and the best of them.

        - `join`: "left join" for all products, "join" for those that have words of the query.
        """
        limit = self._count + _SPARE
        while True:
            lines, estimates = self._estimated(connection, allowed, limit, join)
            found = self._scored(connection, lines)
            if len(lines) < limit or found.scores[-1] > estimates[-1] + self._largest_error():
                return lines, found
            limit *= _MORE

    def _estimated(self, connection: Connection, allowed: Piece, limit: int, join: str) -> tuple[Lines, list[float]]:
        """Lines of the products that the database finds best, and its estimates of their scores, best first."""
        # An expression that no index serves, since the order of an HNSW index is not exact.
        terms = [piece("-(embedding <#> %s)", self._vector())]
        for addition in self._additions:
            added = addition_piece(addition, self._manifest.columns[addition.column])
            terms.append(Piece(sql.SQL("({}) / %s::float8").format(added.text), (*added.parameters, self._unit)))
        source = piece("{table}", table=sql.Identifier(self._manifest.table))
        if self._matches:
            terms.append(piece("coalesce({matched}, 0) / %s::float8", self._unit, matched=sql.Identifier(MATCHED)))
            matches = matches_piece(self._manifest, self._matches)
            text = sql.SQL(f"{{}} {join} {{}} using (row)").format(source.text, matches.text)
            source = Piece(text, matches.parameters)
        estimate = joined("+", terms)
        numbers = [sql.Identifier(self._manifest.columns[addition.column].number) for addition in self._additions]
        listed = sql.SQL(", ").join([sql.SQL("row"), sql.SQL("embedding"), *numbers])
        statement = sql.SQL("select {} as estimate, {} from {} where {} order by estimate desc, row limit %s")
        query = statement.format(estimate.text, listed, source.text, allowed.text)
        parameters = [*estimate.parameters, *source.parameters, *allowed.parameters, limit]
        found = connection.execute(query, parameters, binary=True).fetchall()
        return [line[1:] for line in found], [line[0] for line in found]

    def _nearest(self, connection: Connection, allowed: Piece, candidates: int) -> Lines:
        """Lines of products that the index finds best; the sums of the database, and its order, are not exact."""
        limit = self._count + _SPARE
        width = min(max(limit, candidates), LARGEST_EF)
        connection.execute("select set_config('hnsw.ef_search', %s, true)", [str(width)])
        # The planner takes the index only for the bare operator of its class, in ascending order, with a limit.
        statement = sql.SQL("select row, embedding from {} where {} order by embedding <#> %s limit %s")
        query = statement.format(sql.Identifier(self._manifest.table), allowed.text)
        return connection.execute(query, [*allowed.parameters, self._vector(), limit], binary=True).fetchall()

    def _scored(self, connection: Connection, lines: Sequence[tuple[Any, ...]]) -> Found:
        """The best lines by exact scores."""
        rows = np.array([line[0] for line in lines], np.int64)
        embeddings = [as_array(line[1]) for line in lines]
        matrix = np.array(embeddings, np.float32).reshape(len(rows), len(self._row))
        shares, numbers = self._added(connection, lines, rows)
        offsets = weighted_sum(self._all_additions, shares)
        if offsets is not None and self._unit != 1:
            offsets = offsets / np.float32(self._unit)
        scores = scores_of(matrix.__getitem__, self._row.astype(np.float64), np.arange(len(rows)), offsets)
        order = np.lexsort((rows, -scores))[: self._count]
        return Found(
            rows[order],
            np.full(len(order), self._pattern, np.uint8),
            scores[order],
            numbers[:, order],
            {int(rows[position]): embeddings[position] for position in order.tolist()},
        )

    def _added(
        self, connection: Connection, lines: Sequence[tuple[Any, ...]], rows: Rows
    ) -> tuple[list[FloatArray], DoubleArray]:
        """What each of A additions of weight 1 adds to the order of n lines, and the numbers (A, n) of `Candidates`."""
        shares: list[FloatArray] = []
        numbers = np.empty((len(self._all_additions), len(rows)))
        place = 2
        for line_of, addition in zip(numbers, self._all_additions, strict=True):
            if isinstance(addition, WordMatch):
                parts = token_parts(connection, self._manifest, addition, rows) if addition.tokens else []
                texts = len(addition.texts)
                shares.append(match_shares(parts, texts, len(rows)))
                line_of[:] = match_numbers(parts, texts, np.arange(len(rows)))
                continue
            missing = 0.0 if addition.half_life is None else -math.inf
            line_of[:] = [missing if line[place] is None else line[place] for line in lines]
            shares.append(column_shares(addition, line_of))
            place += 1
        return shares, numbers

    def _largest_error(self) -> float:
        """By how much an estimate may differ from the score: float32 sums of 2D products, in any order, and offsets."""
        # A boost adds at most its weight, a token at most K + 1 times its own: shares of tf are below K + 1.
        weights = sum(abs(addition.weight) for addition in self._additions)
        tokens = 0
        for match in self._matches:
            weights += abs(match.weight) * (K + 1) * sum(token.weight for token in match.tokens) / len(match.texts)
            tokens += len(match.tokens)
        # Rows have two sides of unit norm.
        sizes = 1.01 * math.sqrt(2) * float(np.linalg.norm(self._row)) + weights / self._unit
        return sizes * (len(self._row) + tokens + 16) * _ROUNDING

    def _vector(self) -> Vector | HalfVector:
        return Vector(self._row) if self._manifest.precision == "vector" else HalfVector(self._row)


def as_array(embedding: Any) -> FloatArray:
    """A value of pgvector as float32."""
    values = embedding if isinstance(embedding, np.ndarray) else embedding.to_numpy()
    return np.asarray(values, np.float32)
