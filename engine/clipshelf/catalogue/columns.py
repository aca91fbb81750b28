"""Typed columns over product records, which filters search.

Every field of a record except id, text and image is a column, of one of the kinds that `kinds` lists. A column stores
its distinct values once, sorted, so that a filter compares small integers. Its values are those that filters compare;
the records keep what was indexed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.kinds import Declaration, Kind
from clipshelf.types import Product

SmallInts: TypeAlias = npt.NDArray[np.signedinteger[Any]]

_NO_COLUMNS = ("id", "text", "image")
_LIST_KINDS: dict[str, Kind] = {"number": "numbers", "text": "texts"}


def _no_entries() -> SmallInts:
    return np.empty(0, np.int8)


@dataclass(frozen=True)
class Column:
    """One column of N products.

    - `kind`: the type of its values, as listed at the head of `kinds`.
    - `values`: the V distinct values, sorted. Those of the kind date are ISO strings, in UTC where they name a zone,
      `2026-05-01` for a midnight and else `2026-05-01T09:30:00`, so that they sort by time.
    - `codes`: (N,) position of each product's value in `values`, -1 for a product without one; empty for a column of
      lists.
    - `rows`: for a column of lists only: the rows that hold `values[0]`, then those that hold `values[1]`, and so on,
      each group ascending.
    - `starts`: for a column of lists only: V + 1 positions in `rows`, where each group starts, and the end.
    - `declaration`: what `columns_of` takes to convert later values alike, "" as long as no value decides it.
    """

    kind: Kind
    values: list[Any]
    codes: SmallInts = field(default_factory=_no_entries)
    rows: SmallInts = field(default_factory=_no_entries)
    starts: list[int] = field(default_factory=list)
    declaration: Declaration = ""

    @property
    def is_list(self) -> bool:
        """Whether each product has a list of values."""
        return self.kind in _LIST_KINDS.values()

    def code(self, value: Any) -> int:
        """Position of `value` in `values`, -1 if no product has it."""
        position = bisect_left(self.values, value)
        return position if position < len(self.values) and self.values[position] == value else -1

    def equals(self, other: Column) -> bool:
        """Whether both columns have the same kind, values and rows."""
        return (
            (self.kind, self.values, self.starts) == (other.kind, other.values, other.starts)
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.rows, other.rows)
        )


def columns_of(products: Iterable[Product], declarations: Mapping[str, Declaration] | None = None) -> dict[str, Column]:
    """Build the columns of products.

    - `products`: N records, in the order of their rows.
    - `declarations`: the declarations of columns by name, such as the catalogue keeps them; that of any other column
      is inferred from its values. A name that no product has is ignored, and so is an empty declaration.

    Returns the columns by name, in the order in which the names first occur. A value that cannot be converted to the
    kind of its column counts as missing.
    """
    builders: dict[str, _Builder] = {}
    count = 0
    for row, product in enumerate(products):
        for name, value in product.items():
            if name not in _NO_COLUMNS:
                builder = builders.get(name)
                if builder is None:
                    builder = builders[name] = _Builder()
                builder.add(row, value)
        count = row + 1
    return {name: builder.column(count) for name, builder in builders.items()}


class _Builder:
    """Collects the (row, value) pairs of one column."""

    def __init__(self) -> None:
        self._kinds: set[Kind] = set()
        self._rows, self._codes = array("q"), array("q")
        self._code_of: dict[Any, int] = {}
        self._has_empty_list = False

    def add(self, row: int, value: Any) -> None:
        if not isinstance(value, list):
            self._add_value(row, value, _kind(value))
            return
        self._has_empty_list = self._has_empty_list or not value
        for item in value:
            self._add_value(row, item, _LIST_KINDS.get(_kind(item), "mixed"))

    def _add_value(self, row: int, value: Any, kind: Kind) -> None:
        self._kinds.add(kind)
        if kind != "mixed":
            self._rows.append(row)
            self._codes.append(self._code_of.setdefault(value, len(self._code_of)))

    def column(self, count: int) -> Column:
        """The column of `count` products."""
        kinds = self._kinds or {"texts"}
        kind: Kind = next(iter(kinds)) if len(kinds) == 1 else "mixed"
        is_list = kind in _LIST_KINDS.values()
        if kind == "mixed" or (self._has_empty_list and not is_list):
            return Column("mixed", [])
        values = sorted(self._code_of)
        sorted_code = np.empty(len(values), np.int64)
        sorted_code[[self._code_of[value] for value in values]] = np.arange(len(values))
        rows, codes = np.array(self._rows, np.int64), sorted_code[np.array(self._codes, np.int64)]
        if is_list:
            order = np.lexsort((rows, codes))
            starts = np.searchsorted(codes[order], np.arange(len(values) + 1))
            return Column(kind, values, rows=rows[order].astype(_smallest_type(count)), starts=starts.tolist())
        code_of_row = np.full(count, -1, _smallest_type(len(values)))
        code_of_row[rows] = codes
        return Column(kind, values, codes=code_of_row)


def _kind(value: Any) -> Kind:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else "mixed"


def _smallest_type(count: int) -> npt.DTypeLike:
    """The smallest signed integer type that holds 0 to `count`: a filter then reads less memory."""
    return next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if count <= np.iinfo(dtype).max)
