"""Filters: `where` conditions over typed columns to one boolean row per product.

    {"category": "shoes", "price": {"<": 100, ">=": 20}, "tags": {"contains": "sale"}}

All conditions of a dict must hold. A column's condition is a value, which it must equal, or a dict of operators:

    ==  !=  <  <=  >  >=     with one value
    in                       with a list of values
    contains                 an item of a list, or a part of a string

`"and"` and `"or"` take a list of such dicts and `"not"` takes one; so no filter takes columns of these three names.
A product without a value fulfils `!=` and no other comparison; None stands for no value in `==` and `!=`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.columns import Column
from clipshelf.errors import InputError
from clipshelf.types import Mask

Where: TypeAlias = Mapping[str, Any]

_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "contains")
_ORDERED = ("<", "<=", ">", ">=")
_NAMES = {"bool": "true or false", "number": "a number", "text": "a string", "numbers": "a number", "texts": "a string"}
_SHOWN = 40


class Filter:
    """Evaluates conditions over the columns of `count` products: `kinds` names them, `column` opens one."""

    def __init__(self, kinds: Mapping[str, str], column: Callable[[str], Column], count: int) -> None:
        self._kinds = kinds
        self._column = column
        self._count = count

    def mask(self, where: Where) -> Mask:
        """(N,) bool, true where a product fulfils `where`.

        Raises InputError on an unknown column, an unknown operator or a value of another type, listing what there is.
        """
        try:
            return self._mask(where)
        except RecursionError:
            raise InputError("where: expected conditions nested less deeply") from None

    def _mask(self, where: Where) -> Mask:
        if not isinstance(where, Mapping):
            raise InputError(f"where: expected a dict of conditions, found {type(where).__name__}")
        found = np.ones(self._count, bool)
        for name, condition in where.items():
            if name in ("and", "or"):
                found &= self._all_or_any(name, condition)
            elif name == "not":
                found &= ~self._mask(condition)
            else:
                self._compare(found, name, condition)
        return found

    def _all_or_any(self, name: str, conditions: Any) -> Mask:
        if not isinstance(conditions, Sequence) or isinstance(conditions, (str, bytes)):
            raise InputError(f"where: {name}: expected a list of conditions, found {type(conditions).__name__}")
        found = np.full(self._count, name == "and")
        for condition in conditions:
            if name == "and":
                found &= self._mask(condition)
            else:
                found |= self._mask(condition)
        return found

    def _compare(self, found: Mask, name: str, condition: Any) -> None:
        """Narrow `found` by one column's condition."""
        kind = self._kinds.get(name)
        if kind is None:
            raise InputError(f"where: expected a column among {self._listing()}, found {name!r}")
        if kind == "mixed":
            raise InputError(
                f"where: {name}: expected a column of one type, found one with several; filters take {self._listing()}"
            )
        tests = condition if isinstance(condition, Mapping) else {"==": condition}
        for operator, value in tests.items():
            found &= self._test(name, kind, operator, value)

    def _test(self, name: str, kind: str, operator: str, value: Any) -> Mask:
        if operator not in _OPERATORS:
            raise InputError(f"where: {name}: expected an operator among {' '.join(_OPERATORS)}, found {operator!r}")
        is_list = kind in ("numbers", "texts")
        allowed = ("contains",) if is_list else _OPERATORS if kind == "text" else _OPERATORS[:-1]
        if operator not in allowed:
            raise self._wrong(name, kind, f"the operator {' or '.join(allowed)}", repr(operator))
        if operator == "in":
            if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
                raise self._wrong(name, kind, "a list after 'in'", f"{type(value).__name__} {value!r}")
            values = [self._fitting(name, kind, item) for item in value]
        elif value is None and operator in ("==", "!="):
            values = [None]
        else:
            values = [self._fitting(name, kind, value)]
        column = self._column(name)
        return _holders(column, values[0], self._count) if is_list else _matching(column, operator, values)

    def _fitting(self, name: str, kind: str, value: Any) -> Any:
        """`value` where it has the type of the column's values."""
        fits = {
            "bool": isinstance(value, (bool, np.bool_)),
            "number": isinstance(value, Real) and not isinstance(value, bool) and bool(value == value),  # noqa: PLR0124
            "text": isinstance(value, str),
        }
        if not fits[kind.removesuffix("s")]:
            raise self._wrong(name, kind, _NAMES[kind], f"{type(value).__name__} {value!r}")
        return value.item() if isinstance(value, np.generic) else value

    def _wrong(self, name: str, kind: str, expected: str, found: str) -> InputError:
        return InputError(
            f"where: {name}: expected {expected} for a column of kind {kind}, found {found}; there is {self._listing()}"
        )

    def _listing(self) -> str:
        """The columns with their kinds, for a message."""
        shown = [f"{name} ({kind})" for name, kind in self._kinds.items() if kind != "mixed"]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        return (", ".join(shown[:_SHOWN]) or "no column at all") + more


def _matching(column: Column, operator: str, values: list[Any]) -> Mask:
    """Rows of a column of single values that fulfil one operator."""
    table, places = column.values, column.places
    first = values[0] if values else None
    if operator in _ORDERED:
        left, right = bisect_left(table, first), bisect_right(table, first)
        if operator in ("<", "<="):
            return (places >= 0) & (places < (left if operator == "<" else right))
        return np.asarray(places >= (left if operator == ">=" else right))
    if operator == "contains":
        return _among(places, [place for place, value in enumerate(table) if first in value], len(table))
    if operator == "in":
        return _among(places, [place for value in values if (place := _place(table, value)) >= 0], len(table))
    place = -1 if first is None else _place(table, first)
    missing = place < 0 and first is not None
    equal = np.zeros(len(places), bool) if missing else places == place
    return np.asarray(equal if operator == "==" else ~equal)


def _place(table: list[Any], value: Any) -> int:
    """Where `value` stands in a sorted table, -1 where it doesn't."""
    place = bisect_left(table, value)
    return place if place < len(table) and table[place] == value else -1


def _among(places: npt.NDArray[Any], wanted: list[int], size: int) -> Mask:
    """Rows whose place is one of `wanted`, by runs of neighbours where these are few, else by a table of `size`."""
    ordered = sorted(set(wanted))
    runs = _runs(ordered)
    if len(runs) <= 4:
        found = np.zeros(len(places), bool)
        for run in runs:
            found |= (places >= run.start) & (places < run.stop)
        return found
    # The last entry answers for place -1, no value.
    table = np.zeros(size + 1, bool)
    table[ordered] = True
    return np.asarray(table[places])


def _runs(ordered: list[int]) -> list[range]:
    runs: list[range] = []
    for place in ordered:
        if runs and runs[-1].stop == place:
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
    return runs


def _holders(column: Column, value: Any, count: int) -> Mask:
    """Rows of a column of lists that hold `value`."""
    found = np.zeros(count, bool)
    place = _place(column.values, value)
    if place >= 0:
        found[column.places[column.starts[place] : column.starts[place + 1]]] = True
    return found
