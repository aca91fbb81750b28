"""Gathers the values of products' fields, field by field, each distinct value once."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from clipshelf.types import Product

_NO_COLUMNS = ("id", "text", "image")


class ColumnValues:
    """The values of one field of N products.

    True and false are spelt "true" and "false", since True equals 1 in Python.

    - `rows`, `codes`: the row of each value that is text or a number, and its position in `distinct`.
    - `item_rows`, `item_codes`: the same for each item of a list.
    - `list_rows`: the rows of lists, of empty ones too.
    - `record_rows`: the rows of records, and of lists that hold records or lists.
    """

    def __init__(self) -> None:
        self.rows, self.codes = array("q"), array("q")
        self.item_rows, self.item_codes = array("q"), array("q")
        self.list_rows, self.record_rows = array("q"), array("q")
        self._code_of: dict[str | float, int] = {}

    @property
    def distinct(self) -> list[str | float]:
        """The distinct values and items, in the order in which they first occur."""
        return list(self._code_of)

    def counts(self) -> Counter[str | float]:
        """How often each value occurs that is no item of a list."""
        return self._counts(self.codes)

    def item_counts(self) -> Counter[str | float]:
        """How often each item of a list occurs."""
        return self._counts(self.item_codes)

    def add(self, row: int, value: Any) -> None:
        """Add the value of a row; None is none."""
        if isinstance(value, list):
            self.list_rows.append(row)
            if any(isinstance(item, (list, dict)) for item in value):
                self.record_rows.append(row)
            for item in value:
                if not isinstance(item, (list, dict)) and item is not None:
                    self.item_rows.append(row)
                    self.item_codes.append(self._code(item))
        elif isinstance(value, dict):
            self.record_rows.append(row)
        elif value is not None:
            self.rows.append(row)
            self.codes.append(self._code(value))

    def _code(self, value: Any) -> int:
        if value is True or value is False:
            value = "true" if value else "false"
        return self._code_of.setdefault(value, len(self._code_of))

    def _counts(self, codes: array[int]) -> Counter[str | float]:
        numbers = np.bincount(np.array(codes, np.int64), minlength=len(self._code_of)).tolist()
        return Counter({value: number for value, number in zip(self._code_of, numbers, strict=True) if number})


def gather_columns(products: Iterable[Product]) -> tuple[int, dict[str, ColumnValues]]:
    """Gather the fields of products.

    - `products`: N records, in the order of their rows.

    Returns N, and the values by field, in the order in which the fields first occur; id, text and image are left out.
    """
    columns: dict[str, ColumnValues] = {}
    count = 0
    for row, product in enumerate(products):
        for name, value in product.items():
            if name not in _NO_COLUMNS:
                column = columns.get(name)
                if column is None:
                    column = columns[name] = ColumnValues()
                column.add(row, value)
        count = row + 1
    return count, columns
