"""Typed columns over product records, for filters.

Every field but id, text and image is a column. A column of one value per product is a sorted table of the values that
occur and, per row, a place in it, so that any comparison is one on small integers. A column of lists is the table and,
for each value in turn, the rows that hold it.

    kind       values
    bool       true or false
    number     integers and floats, compared exactly
    text       strings, ordered by code point (dates in ISO form sort as they should)
    numbers    lists of numbers
    texts      lists of strings
    mixed      of more than one kind, or records: kept with the product, but no filter takes it
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.types import Product

Kind = Literal["bool", "number", "text", "numbers", "texts", "mixed"]
Places: TypeAlias = npt.NDArray[np.signedinteger[Any]]

_NOT_COLUMNS = ("id", "text", "image")
_LISTS: dict[str, Kind] = {"number": "numbers", "text": "texts"}


@dataclass(frozen=True)
class Column:
    """One column of N products.

    `values` is sorted, without duplicates. For one value per product `places` (N,) says which, -1 for none, and
    `starts` is empty. For lists `places[starts[v] : starts[v + 1]]` are the rows that hold value v, ascending.
    """

    kind: Kind
    places: Places
    values: list[Any]
    starts: list[int] = field(default_factory=list)

    @property
    def is_list(self) -> bool:
        """Whether a product has a list of values."""
        return self.kind in _LISTS.values()

    def equals(self, other: Column) -> bool:
        """Whether all is the same."""
        own, its = (self.kind, self.values, self.starts), (other.kind, other.values, other.starts)
        return own == its and np.array_equal(self.places, other.places)


def columns_of(products: Iterable[Product]) -> dict[str, Column]:
    """The columns of products, by name, in the order in which they first occur."""
    builders: dict[str, _Builder] = {}
    count = 0
    for row, product in enumerate(products):
        for name, value in product.items():
            if name not in _NOT_COLUMNS:
                builder = builders.get(name)
                if builder is None:
                    builder = builders[name] = _Builder()
                builder.add(row, value)
        count = row + 1
    return {name: builder.column(count) for name, builder in builders.items()}


class _Builder:
    """Gathers (row, value) pairs of one column."""

    def __init__(self) -> None:
        self._kinds: set[Kind] = set()
        self._rows, self._places = array("q"), array("q")
        self._table: dict[Any, int] = {}
        self._empty_lists = False

    def add(self, row: int, value: Any) -> None:
        if not isinstance(value, list):
            self._put(row, value, _kind(value))
            return
        self._empty_lists = self._empty_lists or not value
        for item in value:
            self._put(row, item, _LISTS.get(_kind(item), "mixed"))

    def _put(self, row: int, value: Any, kind: Kind) -> None:
        self._kinds.add(kind)
        if kind != "mixed":
            self._rows.append(row)
            self._places.append(self._table.setdefault(value, len(self._table)))

    def column(self, count: int) -> Column:
        kinds = self._kinds or {"texts"}
        kind: Kind = next(iter(kinds)) if len(kinds) == 1 else "mixed"
        if kind == "mixed" or (self._empty_lists and kind not in _LISTS.values()):
            return Column("mixed", np.empty(0, np.int8), [])
        values = sorted(self._table)
        rank = np.empty(len(values), np.int64)
        rank[[self._table[value] for value in values]] = np.arange(len(values))
        rows, ranks = np.array(self._rows, np.int64), rank[np.array(self._places, np.int64)]
        if kind in _LISTS.values():
            order = np.lexsort((rows, ranks))
            starts = np.searchsorted(ranks[order], np.arange(len(values) + 1))
            return Column(kind, rows[order].astype(_smallest(count)), values, starts.tolist())
        places = np.full(count, -1, _smallest(len(values)))
        places[rows] = ranks
        return Column(kind, places, values)


def _kind(value: Any) -> Kind:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else "mixed"


def _smallest(count: int) -> npt.DTypeLike:
    """The smallest signed type for 0 to `count`: what it doesn't hold needn't be read from memory either."""
    return next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if count <= np.iinfo(dtype).max)
