"""Gathers the values of products' fields, field by field, each distinct value once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from clipshelf.types import Product

_NO_COLUMNS = ("id", "text", "image")
_PLAIN_TYPES = frozenset((str, int, float))


class ColumnValues:
    """The values of one field of N products.

    True and false are spelt "true" and "false", since True equals 1 in Python.

    - `rows`, `codes`: the row of each value that is text or a number, and its position in `distinct`.
    - `item_rows`, `item_codes`: the same for each item of a list.
    - `code_of`: the distinct values and items, and the position of each.
    - `list_rows`: the rows of lists, of empty ones too.
    - `record_rows`: the rows of records, and of lists that hold records or lists.
    """

    def __init__(self) -> None:
        self.rows, self.codes = array("q"), array("q")
        self.item_rows, self.item_codes = array("q"), array("q")
        self.list_rows, self.record_rows = array("q"), array("q")
        self.code_of: dict[str | float, int] = {}

    @classmethod
    def of_texts(cls, texts: Sequence[str | None]) -> ColumnValues:
        """The values of N products that are text or None; much faster than to add them one by one."""
        values = cls()
        values.rows.extend(row for row, text in enumerate(texts) if text is not None)
        values.code_of |= {text: code for code, text in enumerate(dict.fromkeys(t for t in texts if t is not None))}
        values.codes.extend(values.code_of[text] for text in texts if text is not None)
        return values

    @property
    def distinct(self) -> list[str | float]:
        """The distinct values and items, in the order in which they first occur."""
        return list(self.code_of)

    @property
    def counts(self) -> dict[str | float, int]:
        """How often each value occurs that is text or a number."""
        return self._counts(self.codes)

    @property
    def item_counts(self) -> dict[str | float, int]:
        """How often each item of lists occurs."""
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
        return self.code_of.setdefault(value, len(self.code_of))

    def _counts(self, codes: array[int]) -> dict[str | float, int]:
        numbers = np.bincount(np.array(codes, np.int64), minlength=len(self.code_of)).tolist()
        return {value: number for value, number in zip(self.code_of, numbers, strict=True) if number}


def gather_columns(products: Iterable[Product]) -> tuple[int, dict[str, ColumnValues]]:
    """Gather the fields of products.

    - `products`: N records, in the order of their rows.

    Returns N, and the values by field, in the order in which the fields first occur; id, text and image are left out.
    """
    columns: dict[str, ColumnValues | None] = dict.fromkeys(_NO_COLUMNS)
    count = 0
    for row, product in enumerate(products):
        for name, value in product.items():
            try:
                column = columns[name]
            except KeyError:
                column = columns[name] = ColumnValues()
            if column is None:
                continue
            if type(value) in _PLAIN_TYPES:
                # The usual case of `add`, written out since a call would take as long as all of it.
                code_of = column.code_of
                column.rows.append(row)
                column.codes.append(code_of.setdefault(value, len(code_of)))
            else:
                column.add(row, value)
        count = row + 1
    return count, {name: column for name, column in columns.items() if column is not None}


def gather_texts(products: Sequence[Product]) -> dict[str, ColumnValues]:
    """Gather the fields of products whose values are all text, as `gather_columns` does."""
    names = dict.fromkeys(name for product in products for name in product)
    return {
        name: ColumnValues.of_texts([product.get(name) for product in products])
        for name in names
        if name not in _NO_COLUMNS
    }
