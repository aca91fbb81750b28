"""Columns of a catalogue as columns of a table.

    kind       type           also
    bool       boolean        its quantiles, for boosts
    number     numeric        its quantiles, for boosts
    text       text           in the normal form NFC
    date       text           as filters compare dates; and its seconds since 1970, for freshness
    numbers    numeric[]
    texts      text[]         in the normal form NFC

Strings have the collation "C", which orders them by code points as Python does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.recommend.boosts import BOOST_KINDS, FRESH_KINDS, quantiles_of, seconds_of

_TYPES = {
    "bool": "boolean",
    "number": "numeric",
    "text": 'text COLLATE "C"',
    "date": 'text COLLATE "C"',
    "numbers": "numeric[]",
    "texts": 'text[] COLLATE "C"',
}
_LONGEST_NAME = 50  # bytes, which leave room for the suffix of a quantile below PostgreSQL's 63
_MOST_COLUMNS = 1_000
# Of the table itself, of its join with words, and of PostgreSQL.
_RESERVED = ("row", "id", "sides", "embedding", "record", "matched")
_RESERVED_BY_SYSTEM = ("ctid", "oid", "xmin", "xmax", "cmin", "cmax", "tableoid")


@dataclass(frozen=True)
class TableColumn:
    """Where a column of a catalogue lies.

    - `kind`: of the catalogue's column.
    - `name`: of the table's column.
    - `whole`: whether all its numbers are integers; None for some.
    - `number`: the column of its quantiles or seconds, "" without one.
    """

    kind: str
    name: str
    whole: bool | None = None
    number: str = ""

    @property
    def type(self) -> str:
        """Its type in SQL."""
        return _TYPES[self.kind]


@dataclass(frozen=True)
class StoredColumn:
    """A column with what the table's columns hold of N products."""

    column: TableColumn
    values: list[Any]
    numbers: list[float | None]


def stored_columns(catalogue: Catalogue) -> dict[str, StoredColumn]:
    """Return the columns of a catalogue by name, those of records inside records too (`size.eu`).

    Raises InputError for more columns than a table may have.
    """
    names = [name for name in _names(catalogue) if name != "id"]
    if len(names) > _MOST_COLUMNS:
        raise InputError(f"postgres: expected at most {_MOST_COLUMNS:,} columns, found {len(names):,}")
    stored: dict[str, StoredColumn] = {}
    taken = {*_RESERVED, *_RESERVED_BY_SYSTEM}
    for position, name in enumerate(names):
        column, own = catalogue.columns.column(name), _table_name(name, position, taken)
        taken.add(own)
        number = (
            f"{own} quantile" if column.kind in BOOST_KINDS else f"{own} seconds" if column.kind in FRESH_KINDS else ""
        )
        place = TableColumn(column.kind, own, _whole(column), number)
        stored[name] = StoredColumn(place, _values(column, len(catalogue)), _numbers(column) if number else [])
    return stored


def from_table(column: TableColumn, value: Any) -> Any:
    """A value of a table's column as the catalogue's column has it."""
    if not isinstance(value, Decimal):
        return value
    is_whole = value == value.to_integral_value() if column.whole is None and value.is_finite() else column.whole
    return int(value) if is_whole else float(value)


def for_table(kind: str, value: Any) -> Any:
    """A value of a filter as a parameter of SQL; numbers are compared exactly."""
    if kind.removesuffix("s") == "number" and value is not None:
        return value if isinstance(value, Decimal) else Decimal(value)
    if isinstance(value, str):
        check_text(value)
    return value


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold a string."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def check_text(text: str) -> None:
    """Raise InputError for a string that PostgreSQL cannot hold."""
    if not is_storable(text):
        raise InputError(f"postgres: expected text without null characters and lone surrogates, found {describe(text)}")


def _names(catalogue: Catalogue) -> Iterator[str]:
    """The names of all columns that filters take."""
    mixed: list[str] = []
    for name, kind in catalogue.columns.items():
        if kind == "mixed":
            mixed.append(name)
        else:
            yield name
    dotted: dict[str, None] = {}
    for product in catalogue.products if mixed else ():
        for name in mixed:
            dotted |= dict.fromkeys(_paths(name, product.get(name)))
    for name in dotted:
        if catalogue.columns.get(name) not in (None, "mixed"):
            yield name


def _paths(name: str, value: Any) -> Iterator[str]:
    """The dotted names below a value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, (Mapping, list)):
                yield from _paths(f"{name}.{key}", inner)
            yield f"{name}.{key}"
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping):
                yield from _paths(name, item)


def _table_name(name: str, position: int, taken: set[str]) -> str:
    """The name of a table's column: that of the catalogue where it fits."""
    fits = 0 < len(name.encode(errors="replace")) <= _LONGEST_NAME and name.isprintable() and "%" not in name
    return name if fits and name not in taken else f"column {position}"


def _whole(column: Column) -> bool | None:
    if column.kind not in ("number", "numbers"):
        return None
    kinds = {isinstance(value, int) for value in column.values}
    return kinds.pop() if len(kinds) == 1 else None


def _values(column: Column, count: int) -> list[Any]:
    """The values of N products as the table holds them, None where a product has none."""
    table = [for_table(column.kind, value) for value in column.values]
    if not column.is_list:
        return [None if code < 0 else table[code] for code in column.codes.tolist()]
    values: list[Any] = [None] * count
    for position, value in enumerate(table):
        for row in column.rows[column.starts[position] : column.starts[position + 1]].tolist():
            if values[row] is None:
                values[row] = []
            values[row].append(value)
    return values


def _numbers(column: Column) -> list[float | None]:
    """The quantile or the seconds of each of N products, None where it has no value."""
    table = quantiles_of(column) if column.kind in BOOST_KINDS else seconds_of(column)
    found = np.where(column.codes < 0, np.nan, table[column.codes])
    return [None if number != number else number for number in found.tolist()]  # noqa: PLR0124
