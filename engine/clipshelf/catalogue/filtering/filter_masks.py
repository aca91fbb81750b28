"""One operator over one column, as a boolean per product."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import numpy as np

from clipshelf.catalogue.typed_columns.columns import Column, SmallInts
from clipshelf.types import Mask

_ORDER_OPERATORS = ("<", "<=", ">", ">=")
# Up to this number of runs, two comparisons per run are faster than one table lookup per product.
_MAX_RUNS_COMPARED = 4


def matches(column: Column, operator: str, values: list[Any]) -> Mask:
    """(N,) bool: the rows of a column of single values that fulfil one operator."""
    table, codes = column.values, column.codes
    first = values[0] if values else None
    if operator in _ORDER_OPERATORS:
        left, right = bisect_left(table, first), bisect_right(table, first)
        if operator in ("<", "<="):
            return (codes >= 0) & (codes < (left if operator == "<" else right))
        return np.asarray(codes >= (left if operator == ">=" else right))
    if operator == "contains":
        return _is_among(codes, [code for code, value in enumerate(table) if first in value], len(table))
    if operator == "in":
        return _is_among(codes, [code for value in values if (code := column.code(value)) >= 0], len(table))
    code = -1 if first is None else column.code(first)
    equals_nothing = code < 0 and first is not None
    equal = np.zeros(len(codes), bool) if equals_nothing else codes == code
    return np.asarray(equal if operator == "==" else ~equal)


def _is_among(codes: SmallInts, allowed: list[int], size: int) -> Mask:
    """(N,) bool: the rows whose code is one of `allowed`, which are below `size`.

    A few runs of neighbouring codes are compared by their ends; more of them are looked up in a table.
    """
    ordered = sorted(set(allowed))
    runs = _runs(ordered)
    if len(runs) <= _MAX_RUNS_COMPARED:
        mask = np.zeros(len(codes), bool)
        for run in runs:
            mask |= (codes >= run.start) & (codes < run.stop)
        return mask
    # Code -1, no value, reads the last entry.
    table = np.zeros(size + 1, bool)
    table[ordered] = True
    return np.asarray(table[codes])


def _runs(ordered: list[int]) -> list[range]:
    """Ascending numbers as ranges of neighbours."""
    runs: list[range] = []
    for number in ordered:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs


def filled(column: Column, count: int) -> Mask:
    """(N,) bool: the rows of a column of lists that hold any value."""
    mask = np.zeros(count, bool)
    mask[column.rows] = True
    return mask


def holds(column: Column, value: Any, count: int) -> Mask:
    """(N,) bool: the rows of a column of lists that hold `value`."""
    mask = np.zeros(count, bool)
    code = column.code(value)
    if code >= 0:
        mask[column.rows[column.starts[code] : column.starts[code + 1]]] = True
    return mask
