"""Gathers the values of products' fields, field by field, each distinct value once."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clipshelf.types import Product

_NO_COLUMNS = ("id", "text", "image")
_PLAIN_TYPES = frozenset((str, int, float))


@dataclass(frozen=True)
class ColumnTally:
    """How many values of one field there are of each sort, from which the kind of a column is inferred.

    Tallies of parts of the products add up to that of all.

    - `scalars`: values that are text or a number; `counts` has how often each occurs.
    - `lists`: lists; `item_counts` has how often each of their items occurs.
    - `records`: records, and lists that hold records or lists.
    """

    scalars: int = 0
    lists: int = 0
    records: int = 0
    counts: Counter[str | float] = field(default_factory=Counter)
    item_counts: Counter[str | float] = field(default_factory=Counter)

    def __add__(self, other: ColumnTally) -> ColumnTally:
        return ColumnTally(
            self.scalars + other.scalars,
            self.lists + other.lists,
            self.records + other.records,
            self.counts + other.counts,
            self.item_counts + other.item_counts,
        )


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

    def tally(self) -> ColumnTally:
        """How many values there are of each sort."""
        counts, item_counts = self._counts(self.codes), self._counts(self.item_codes)
        return ColumnTally(len(self.rows), len(self.list_rows), len(self.record_rows), counts, item_counts)

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

    def _counts(self, codes: array[int]) -> Counter[str | float]:
        numbers = np.bincount(np.array(codes, np.int64), minlength=len(self.code_of)).tolist()
        return Counter({value: number for value, number in zip(self.code_of, numbers, strict=True) if number})


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


def tally_columns(products: Iterable[Product]) -> dict[str, ColumnTally]:
    """Tally the fields of products, by field; id, text and image are left out."""
    return {name: values.tally() for name, values in gather_columns(products)[1].items()}


def gather_texts(products: Sequence[Product]) -> dict[str, ColumnValues]:
    """Gather the fields of products whose values are all text, as `gather_columns` does."""
    names = dict.fromkeys(name for product in products for name in product)
    return {
        name: ColumnValues.of_texts([product.get(name) for product in products])
        for name in names
        if name not in _NO_COLUMNS
    }
