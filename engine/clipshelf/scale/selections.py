"""What goes between a store of shards and each shard: selections of products, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.recommend.store import Candidates
from clipshelf.types import DoubleArray, FloatArray, Product, Rows


class LeftOut(NamedTuple):
    """Products that a selection does not have any more.

    - `column`: groups by this column, with these `values`, and
    - `rows`: these products.
    """

    column: str
    values: tuple[Any, ...]
    rows: Rows


class GroupOf(NamedTuple):
    """The group of a row: products with this value of a column, or the row alone where it has none."""

    column: str
    value: Any
    row: int


@dataclass(frozen=True)
class ShardedSelection:
    """Products of a sharded catalogue that a search may find, in a form that each shard evaluates.

    - `where`: a filter, None for all products.
    - `of_records`: declarations, pooled over the shards, of the columns that it names and that are read from records.
    - `left_out`: what is taken away.
    - `group`: the group that the others belong to.
    - `excluded`: rows that are taken away.
    - `count`, `missing`: the number of products, and shards that could not count.
    """

    where: Where | None = None
    of_records: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    group: GroupOf | None = None
    excluded: AbstractSet[int] = frozenset()
    count: int = 0
    missing: AbstractSet[int] = frozenset()


@dataclass(frozen=True)
class AddedFields:
    """The dotted columns by which searches add to scores.

    - `declarations`: of these columns, pooled over the shards.
    - `quantiles`: (V + 1,) of the V values that the shard has of those that boost, among the values of all shards. A
      shard keeps them, so they are sent once.
    """

    declarations: Mapping[str, str] = field(default_factory=dict)
    quantiles: Mapping[str, DoubleArray] = field(default_factory=dict)


class ColumnsUnread(Exception):
    """Raised by a shard that has not read all records yet for a column that is named; `read_columns` does it.

    - `declarations`: of the columns.
    """

    def __init__(self, declarations: Mapping[str, str]) -> None:
        super().__init__(declarations)
        self.declarations = declarations


class LackedQuantiles(NamedTuple):
    """The answer of a shard that has not got the quantiles of these columns, or not any more."""

    columns: tuple[str, ...]


class IdMatches(NamedTuple):
    """Products that ids name.

    - `rows`: (n,) -1 for an id that is not there.
    - `embeddings`: (m, 2D) of those that are there, where few are asked for, else None.
    """

    rows: Rows
    embeddings: FloatArray | None


class ShardCandidates(NamedTuple):
    """Candidates of one shard.

    - `embeddings`: (n, 2D) of their products.
    - `records`, `pictures`: the records of these and the keys of their pictures, where they are few, else none.
    """

    candidates: Candidates
    embeddings: FloatArray
    records: list[Product]
    pictures: list[bytes]
