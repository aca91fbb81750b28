"""What a column has: its range or its most frequent values, of one catalogue or of several parts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.catalogue.typed_columns.kinds import Kind
from clipshelf.types import Rows

_FREQUENT = 100  # values of a column
_ORDERED = ("number", "numbers", "date")


class ValueCounts(NamedTuple):
    """How many products have each value of a column.

    - `products`: products with any value.
    - `values`: the V distinct values, sorted; none for a column of the kind mixed.
    - `counts`: (V,) products that have each.
    """

    products: int
    values: Sequence[Any]
    counts: Rows


@dataclass(frozen=True)
class ColumnSummary:
    """A column as a page offers it for filters.

    - `name`, `kind`: of the column.
    - `products`: how many have a value.
    - `distinct`: the number of values, None for the kind mixed, of which nothing else is known.
    - `range`: the least and the greatest value of numbers and dates, None where there is none.
    - `frequent`: the most frequent values of other kinds, most frequent first, each with its number of products; None
      for a kind that has a range, and for mixed.
    """

    name: str
    kind: Kind
    products: int
    distinct: int | None = None
    range: tuple[Any, Any] | None = None
    frequent: tuple[tuple[Any, int], ...] | None = None


def count_values(contents: Contents, name: str) -> ValueCounts:
    """Count the values of a column; those of the kind mixed are not told apart."""
    if contents.kinds[name] == "mixed":
        products = sum(product.get(name) is not None for product in contents.products)
        return ValueCounts(products, (), np.empty(0, np.int64))
    column = contents.column(name)
    counts = _counts(column)
    products = len(np.unique(column.rows)) if column.is_list else int(counts.sum())
    return ValueCounts(products, column.values, counts)


def summarise(name: str, kind: Kind, parts: Sequence[ValueCounts]) -> ColumnSummary:
    """Summarise a column.

    - `parts`: the values of each part of the products, from 1; a product is in one part.
    """
    products = sum(part.products for part in parts)
    if kind == "mixed":
        return ColumnSummary(name, kind, products)
    values, counts = (parts[0].values, parts[0].counts) if len(parts) == 1 else _merged(parts)
    if kind in _ORDERED:
        return ColumnSummary(name, kind, products, len(values), (values[0], values[-1]) if values else None)
    order = np.argsort(-counts, kind="stable")[:_FREQUENT].tolist()
    frequent = tuple((values[position], int(counts[position])) for position in order)
    return ColumnSummary(name, kind, products, len(values), frequent=frequent)


def _merged(parts: Sequence[ValueCounts]) -> tuple[list[Any], Rows]:
    """The values of all parts, sorted, with their numbers of products."""
    total: Counter[Any] = Counter()
    for part in parts:
        total.update(dict(zip(part.values, part.counts.tolist(), strict=True)))
    values = sorted(total)
    return values, np.array([total[value] for value in values], np.int64)


def _counts(column: Column) -> Rows:
    """(V,) int64: products that have each value."""
    if column.is_list:
        return np.diff(column.starts).astype(np.int64)
    return np.bincount(column.codes[column.codes >= 0], minlength=len(column.values)).astype(np.int64)
