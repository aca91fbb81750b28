"""What filters consist of: conditions, checked against the kinds of columns.

A checked filter is a tree of `All`, `AnyOf`, `Not` and `Test`. `filters` evaluates it over columns in memory; a store
that has columns of its own evaluates it there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.products import product_id
from clipshelf.display import describe
from clipshelf.errors import InputError

Where: TypeAlias = Mapping[str, Any]

_OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "contains")
_VALUE_NAMES = {
    "bool": "true or false",
    "number": "a number",
    "text": "a string",
    "date": "a date in ISO form, such as 2026-05-01 or 2026-05-01T09:30,",
    "numbers": "a number",
    "texts": "a string",
}
# Limits, checked before any work.
MAX_DEPTH = 50
MAX_TESTS = 1000
_COLUMNS_LISTED = 40
# Names among which a misspelled one is looked for: their number, and the characters of each.
_NAMES_COMPARED, _NAME_COMPARED = 1000, 100


@dataclass(frozen=True)
class Test:
    """One operator over one column.

    - `kind`: of the column.
    - `values`: what it is compared with, as the column stores it: several for `in`, else one. None means that the
      product has no value.
    """

    column: str
    kind: str
    operator: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Not:
    """What a condition does not let through."""

    part: Condition


@dataclass(frozen=True)
class All:
    """What all of some conditions let through; everything where there are none."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class AnyOf:
    """What one of some conditions or more let through; nothing where there are none."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = "Test | Not | All | AnyOf"


def check_where(where: Where, kinds: Mapping[str, str]) -> Condition:
    """Check a filter.

    - `where`: a dict of conditions, as `docs/filters.md` explains.
    - `kinds`: the kind of each column by name.

    Raises InputError for an unknown column, an unknown operator or a value of another type, in a message that lists the
    columns, and for more tests or deeper nesting than `check_size` allows.
    """
    check_size(where)
    return _Checker(kinds).condition(where)


def tested_columns(condition: Condition) -> set[str]:
    """The names of the columns that a condition tests."""
    if isinstance(condition, Test):
        return {condition.column}
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return {name for part in parts for name in tested_columns(part)}


class _Checker:
    """Checks filters against the kinds of columns."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds = kinds

    def condition(self, where: Where) -> Condition:
        if not isinstance(where, Mapping):
            raise InputError(f"where: expected a dict of conditions, found {type(where).__name__}")
        parts: list[Condition] = []
        for name, condition in where.items():
            if name in ("and", "or"):
                join = All if name == "and" else AnyOf
                parts.append(join(tuple(map(self.condition, self._list(name, condition)))))
            elif name == "not":
                parts.append(Not(self.condition(condition)))
            else:
                parts += self._tests(name, condition)
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _list(self, name: str, conditions: Any) -> Sequence[Any]:
        if not isinstance(conditions, Sequence) or isinstance(conditions, (str, bytes)):
            raise InputError(f"where: {name}: expected a list of conditions, found {type(conditions).__name__}")
        return conditions

    def _tests(self, name: str, condition: Any) -> list[Test]:
        """The tests of one column."""
        kind = self._kinds.get(name)
        if kind is None:
            raise InputError(
                f"where: expected a column among {self._listing()}, found {describe(name)}{self._similar(name)}"
            )
        if kind == "mixed":
            raise InputError(
                f"where: {name}: expected a column of one type, found one with several; filters take {self._listing()}"
            )
        tests = condition if isinstance(condition, Mapping) else {"==": condition}
        return [
            Test(name, kind, operator, self._values(name, kind, operator, value)) for operator, value in tests.items()
        ]

    def _values(self, name: str, kind: str, operator: str, value: Any) -> tuple[Any, ...]:
        """What an operator compares with."""
        if operator not in _OPERATORS:
            raise InputError(
                f"where: {name}: expected an operator among {' '.join(_OPERATORS)}, found {describe(operator)}"
            )
        if isinstance(value, Mapping) and set(value) == {"it"}:
            raise InputError(
                f"where: it.{value['it']}: expected a query with one liked product, which `it` stands for, found none"
            )
        is_list = kind in ("numbers", "texts")
        allowed = ("contains",) if is_list else _OPERATORS if kind == "text" else _OPERATORS[:-1]
        is_missing = value is None and operator in ("==", "!=")
        if operator not in allowed and not is_missing:
            raise self._mismatch(name, kind, f"the operator {' or '.join(allowed)}", repr(operator))
        if is_missing:
            return (None,)
        if operator != "in":
            return (self._checked(name, kind, value),)
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
            raise self._mismatch(name, kind, "a list after 'in'", f"{type(value).__name__} {describe(value)}")
        return tuple(self._checked(name, kind, item) for item in value)

    def _checked(self, name: str, kind: str, value: Any) -> Any:
        """`value` as the column's values are stored; raises InputError unless it has their type."""
        original = value
        if kind == "date":
            value = _date(value)
        elif name == "id" and isinstance(value, Real):
            value = product_id(value)
        fits = {
            "date": value is not None,
            "bool": isinstance(value, (bool, np.bool_)),
            "number": isinstance(value, (Real, Decimal)) and not isinstance(value, bool) and bool(value == value),  # noqa: PLR0124
            "text": isinstance(value, str),
        }
        if not fits[kind.removesuffix("s")]:
            found = f"{type(original).__name__} {describe(original)}"
            if kind == "text" and isinstance(value, Real):
                found += f" ({name}:number declares a column of numbers)"
            raise self._mismatch(name, kind, _VALUE_NAMES[kind], found)
        if isinstance(value, str):
            return unicodedata.normalize("NFC", value)
        return value.item() if isinstance(value, np.generic) else value

    def _mismatch(self, name: str, kind: str, expected: str, found: str) -> InputError:
        return InputError(
            f"where: {name}: expected {expected} for a column of kind {kind}, found {found}; there is {self._listing()}"
        )

    def _listing(self) -> str:
        """The columns with their kinds by name, for a message; shards of a catalogue have them in another order."""
        columns = [f"{name} ({kind})" for name, kind in sorted(self._kinds.items()) if kind != "mixed"]
        return shorten_list(columns, _COLUMNS_LISTED) or "no column at all"

    def _similar(self, name: Any) -> str:
        """A question for the column that an unknown name may mean, "" where none is alike."""
        if not isinstance(name, str) or len(name) > _NAME_COMPARED:
            return ""
        short_names = (known for known in self._kinds if len(known) <= _NAME_COMPARED)
        names = {known.casefold(): known for known in islice(short_names, _NAMES_COMPARED)}
        alike = get_close_matches(name.casefold(), names, n=1)
        return f"; is {names[alike[0]]!r} meant?" if alike else ""


def _date(value: Any) -> str | None:
    """A date or time as a column of dates stores it, in UTC where it names a zone; None for anything else."""
    try:
        if isinstance(value, np.datetime64):
            value = value.astype("datetime64[us]").item()
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if not isinstance(value, datetime):
            return value.isoformat() if isinstance(value, date) else None
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return (moment.date() if moment.time() == time() else moment).isoformat()
    except (ValueError, OverflowError):
        return None


def check_size(where: Any) -> None:
    """Check how large a filter is, before it is evaluated.

    - `where`: a dict of conditions.

    Raises InputError for conditions nested deeper than `MAX_DEPTH` levels, and for more than `MAX_TESTS` tests.
    """
    tests = 0
    level = [where]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for conditions in level:
            for name, condition in conditions.items() if isinstance(conditions, Mapping) else ():
                if name == "not":
                    inner.append(condition)
                elif name in ("and", "or") and isinstance(condition, Sequence) and not isinstance(condition, str):
                    inner += condition
                else:
                    tests += len(condition) if isinstance(condition, Mapping) else 1
        if tests + len(inner) > MAX_TESTS:
            raise InputError(f"where: expected at most {MAX_TESTS:,} tests; `in` compares with any number of values")
        if not inner:
            return
        level = inner
    raise InputError(f"where: expected conditions nested less deeply, at most {MAX_DEPTH} levels")
