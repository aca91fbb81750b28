"""Filters: conditions over typed columns, evaluated to one boolean per product.

`docs/filters.md` explains the conditions to users. This module takes them as dicts; `filter_parser` turns words into
such a dict.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from clipshelf.catalogue.columns import Column, SmallInts
from clipshelf.catalogue.messages import shorten_list
from clipshelf.errors import InputError
from clipshelf.types import Mask

Where: TypeAlias = Mapping[str, Any]

_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "contains")
_ORDER_OPERATORS = ("<", "<=", ">", ">=")
_VALUE_NAMES = {
    "bool": "true or false",
    "number": "a number",
    "text": "a string",
    "numbers": "a number",
    "texts": "a string",
}
_COLUMNS_LISTED = 40
# Up to this number of runs, two comparisons per run are faster than one table lookup per product.
_MAX_RUNS_COMPARED = 4


class Filter:
    """Evaluates conditions over the columns of N products.

    - `kinds`: the kind of each column by name, as in `columns`.
    - `column`: opens the column of a name; it is called only for columns that a condition names.
    - `count`: N.
    """

    def __init__(self, kinds: Mapping[str, str], column: Callable[[str], Column], count: int) -> None:
        self._kinds = kinds
        self._column = column
        self._count = count

    def mask(self, where: Where) -> Mask:
        """Evaluate `where`.

        - `where`: a dict of conditions, as `docs/filters.md` explains.

        Returns (N,) bool, true where a product fulfils it. Raises InputError for an unknown column, an unknown operator
        or a value of another type; the message lists the columns.
        """
        try:
            return self._mask(where)
        except RecursionError:
            raise InputError("where: expected conditions nested less deeply") from None

    def _mask(self, where: Where) -> Mask:
        if not isinstance(where, Mapping):
            raise InputError(f"where: expected a dict of conditions, found {type(where).__name__}")
        mask = np.ones(self._count, bool)
        for name, condition in where.items():
            if name in ("and", "or"):
                mask &= self._all_or_any(name, condition)
            elif name == "not":
                mask &= ~self._mask(condition)
            else:
                self._narrow(mask, name, condition)
        return mask

    def _all_or_any(self, name: str, conditions: Any) -> Mask:
        if not isinstance(conditions, Sequence) or isinstance(conditions, (str, bytes)):
            raise InputError(f"where: {name}: expected a list of conditions, found {type(conditions).__name__}")
        mask = np.full(self._count, name == "and")
        for condition in conditions:
            if name == "and":
                mask &= self._mask(condition)
            else:
                mask |= self._mask(condition)
        return mask

    def _narrow(self, mask: Mask, name: str, condition: Any) -> None:
        """Clear `mask` where a product does not fulfil one column's condition."""
        kind = self._kinds.get(name)
        if kind is None:
            raise InputError(f"where: expected a column among {self._listing()}, found {name!r}")
        if kind == "mixed":
            raise InputError(
                f"where: {name}: expected a column of one type, found one with several; filters take {self._listing()}"
            )
        tests = condition if isinstance(condition, Mapping) else {"==": condition}
        for operator, value in tests.items():
            mask &= self._test(name, kind, operator, value)

    def _test(self, name: str, kind: str, operator: str, value: Any) -> Mask:
        if operator not in _OPERATORS:
            raise InputError(f"where: {name}: expected an operator among {' '.join(_OPERATORS)}, found {operator!r}")
        is_list = kind in ("numbers", "texts")
        allowed = ("contains",) if is_list else _OPERATORS if kind == "text" else _OPERATORS[:-1]
        if operator not in allowed:
            raise self._mismatch(name, kind, f"the operator {' or '.join(allowed)}", repr(operator))
        if operator == "in":
            if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
                raise self._mismatch(name, kind, "a list after 'in'", f"{type(value).__name__} {value!r}")
            values = [self._checked(name, kind, item) for item in value]
        elif value is None and operator in ("==", "!="):
            values = [None]
        else:
            values = [self._checked(name, kind, value)]
        column = self._column(name)
        return _holds(column, values[0], self._count) if is_list else _matches(column, operator, values)

    def _checked(self, name: str, kind: str, value: Any) -> Any:
        """`value` as a Python value; raises InputError unless it has the type of the column's values."""
        fits = {
            "bool": isinstance(value, (bool, np.bool_)),
            "number": isinstance(value, Real) and not isinstance(value, bool) and bool(value == value),  # noqa: PLR0124
            "text": isinstance(value, str),
        }
        if not fits[kind.removesuffix("s")]:
            raise self._mismatch(name, kind, _VALUE_NAMES[kind], f"{type(value).__name__} {value!r}")
        return value.item() if isinstance(value, np.generic) else value

    def _mismatch(self, name: str, kind: str, expected: str, found: str) -> InputError:
        return InputError(
            f"where: {name}: expected {expected} for a column of kind {kind}, found {found}; there is {self._listing()}"
        )

    def _listing(self) -> str:
        """The columns with their kinds, for a message."""
        columns = [f"{name} ({kind})" for name, kind in self._kinds.items() if kind != "mixed"]
        return shorten_list(columns, _COLUMNS_LISTED) or "no column at all"


def _matches(column: Column, operator: str, values: list[Any]) -> Mask:
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


def _holds(column: Column, value: Any, count: int) -> Mask:
    """(N,) bool: the rows of a column of lists that hold `value`."""
    mask = np.zeros(count, bool)
    code = column.code(value)
    if code >= 0:
        mask[column.rows[column.starts[code] : column.starts[code + 1]]] = True
    return mask
