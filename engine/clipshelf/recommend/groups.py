"""One product for each group of products that have the same value of a column, such as the variants of a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.types import Mask, Rows

_COUNTED = 1 << 53
GROUP_KINDS = ("text", "number", "bool", "date")


class Grouping:
    """The groups of N products by a column of single values. A product without a value is a group of its own.

    - `column`: of one of the kinds `GROUP_KINDS`.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        self._values = column.values
        self._codes = column.codes
        self._rows_by_group = np.argsort(column.codes, kind="stable")
        self._starts = np.searchsorted(column.codes[self._rows_by_group], np.arange(len(column.values) + 1))

    def values(self, rows: Rows) -> list[Any]:
        """The values (n,) that the groups of n rows share, None for a product without one.

        The value 42 of some products and 42.0 of others are one, which is spelt 42.
        """
        return [None if code < 0 else _spelt_short(self._values[code]) for code in self._codes[rows].tolist()]

    def members(self, row: int) -> Rows:
        """The rows of the group of a row, ascending, itself included."""
        code = int(self._codes[row])
        if code < 0:
            return np.array([row], np.int64)
        return self._rows_by_group[self._starts[code] : self._starts[code + 1]]

    def has_any(self, values: Sequence[Any]) -> Mask:
        """(N,) bool: which products have one of some values, which are not None."""
        has = np.zeros(len(self._values) + 1, np.bool_)  # the last is that of no value
        codes = [self._column.code(value) for value in values]
        has[[code for code in codes if code >= 0]] = True
        chosen: Mask = has[self._codes]
        return chosen

    def without(self, mask: Mask | None, rows: Rows) -> Mask:
        """(N,) a mask, None for all, without the groups of some rows."""
        codes = self._codes[rows]
        gone = np.zeros(len(self._values) + 1, np.bool_)
        gone[codes[codes >= 0]] = True
        allowed: Mask = ~gone[self._codes]
        allowed[rows] = False
        if mask is not None:
            allowed &= mask
        return allowed


def _spelt_short(value: Any) -> Any:
    """A value; a float as an integer where it is one that float64 counts without gaps."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= _COUNTED else value


def first_of_groups(values: Sequence[Any]) -> Rows:
    """Positions (m,), ascending, of those of n products that are the first of their group.

    - `values`: of the products; each without one is a group of its own.
    """
    seen: set[Any] = set()
    positions = []
    for position, value in enumerate(values):
        if value is None or value not in seen:
            positions.append(position)
            seen.add(value)
    return np.array(positions, np.int64)
