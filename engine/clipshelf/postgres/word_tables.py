"""The index of words in two tables beside the one of products.

    NAME_t   token, products      how many products have each token
    NAME_w   token, row, share    the products of each token, and the factor of tf in their word match

`clipshelf.catalogue.lexical.word_index` has the formula. A token is the 64-bit key of a word, as a signed number.
Tokens that are too common to count have no lines in NAME_w.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from psycopg import sql

from clipshelf.catalogue.lexical.word_index import WordIndex, is_common
from clipshelf.postgres.connections import Connection
from clipshelf.postgres.manifest import TableManifest
from clipshelf.postgres.numbers_copy import copy_numbers
from clipshelf.postgres.sql import Piece, piece
from clipshelf.recommend.boosts import WordMatch
from clipshelf.recommend.word_matches import TokenParts
from clipshelf.types import Rows

MATCHED = "matched"  # the column of `matches`; products' columns have other names

# Calls a function with a connection, and returns what it returns.
Read: TypeAlias = Callable[[Callable[[Connection], dict[int, int]]], dict[int, int]]


class TableWords:
    """`clipshelf.catalogue.lexical.word_index.WordStatistics` of a table's products.

    - `mean_length`: mean number of tokens of a product.
    - `read`: runs work on a connection.
    """

    def __init__(self, manifest: TableManifest, mean_length: float, read: Read) -> None:
        self.count, self.mean_length = manifest.count, mean_length
        self._tokens = sql.Identifier(manifest.tokens_table)
        self._read = read

    def having(self, keys: Sequence[int]) -> list[int]:
        """The numbers of products that have each of n tokens."""
        query = sql.SQL("select token, products from {} where token = any(%s::int8[])").format(self._tokens)
        signed = [_signed(key) for key in keys]
        found = self._read(lambda connection: dict(connection.execute(query, [signed], binary=True).fetchall()))
        return [found.get(token, 0) for token in signed]


def write_words(connection: Connection, manifest: TableManifest, words: WordIndex) -> None:
    """Make and fill the tables of an index of words."""
    tokens, postings = sql.Identifier(manifest.tokens_table), sql.Identifier(manifest.postings_table)
    having = np.diff(words.starts)
    keys = words.keys.view(np.int64)
    connection.execute(sql.SQL("create table {} (token bigint not null, products integer not null)").format(tokens))
    copy_numbers(connection, manifest.tokens_table, {"token": keys, "products": having.astype(np.int32)})
    connection.execute(
        sql.SQL("create table {} (token bigint not null, row bigint not null, share real not null)").format(postings)
    )
    is_counted = np.repeat(~is_common(having, words.count), having)
    shares = words.shares(0, len(words.rows), words.mean_length)[is_counted]
    owners, rows = np.repeat(keys, having)[is_counted], words.rows[is_counted].astype(np.int64)
    copy_numbers(connection, manifest.postings_table, {"token": owners, "row": rows, "share": shares})
    connection.execute(sql.SQL("alter table {} add primary key (token)").format(tokens))
    connection.execute(sql.SQL("alter table {} add primary key (token, row)").format(postings))
    for table in (tokens, postings):
        connection.execute(sql.SQL("analyze {}").format(table))


def matches_piece(manifest: TableManifest, matches: Sequence[WordMatch]) -> Piece:
    """The table `matches` (row, matched): what words add to the scores of products that have any, in about float64."""
    pairs = [
        (_signed(token.key), match.weight * token.weight / len(match.texts))
        for match in matches
        for token in match.tokens
    ]
    return piece(
        "(select row, sum(weight * share) as {matched} from {postings} "
        "join unnest(%s::int8[], %s::float8[]) as asked (token, weight) using (token) group by row) as matches",
        [token for token, _ in pairs],
        [weight for _, weight in pairs],
        matched=sql.Identifier(MATCHED),
        postings=sql.Identifier(manifest.postings_table),
    )


def token_parts(connection: Connection, manifest: TableManifest, match: WordMatch, rows: Rows) -> TokenParts:
    """What each token of a match adds to n products; the rows of the parts are positions in `rows`."""
    query = sql.SQL("select token, row, share from {} where token = any(%s::int8[]) and row = any(%s::int8[])").format(
        sql.Identifier(manifest.postings_table)
    )
    tokens = [_signed(token.key) for token in match.tokens]
    positions = {row: position for position, row in enumerate(rows.tolist())}
    by_token: dict[int, list[tuple[int, float]]] = {}
    for token, row, share in connection.execute(query, [list(set(tokens)), list(positions)], binary=True):
        by_token.setdefault(token, []).append((positions[row], share))
    parts = []
    for token, weighed in zip(tokens, match.tokens, strict=True):
        if pairs := sorted(by_token.get(token, ())):
            shares = np.array([share for _, share in pairs], np.float32)
            parts.append((np.array([position for position, _ in pairs]), np.float32(weighed.weight) * shares))
    return parts


def _signed(key: int) -> int:
    """A 64-bit key as PostgreSQL's bigint."""
    return key - (1 << 64) if key >= 1 << 63 else key
