"""Filters relative to a product: `price<it.price`, where `it` is a product that the query names.

In a dict, `{"it": "price"}` stands for the product's value of a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clipshelf.catalogue.filtering.conditions import Where, check_size
from clipshelf.catalogue.filtering.filter_columns import FilterColumns
from clipshelf.display import describe
from clipshelf.errors import InputError

REFERENCE = "it"
_LISTS = ("numbers", "texts", "mixed")


def is_reference(value: object) -> bool:
    """Whether a value of a filter stands for the value of a product."""
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get(REFERENCE), str)


def has_reference(where: Where) -> bool:
    """Whether a filter, a dict of conditions, is relative to a product."""
    names: set[str] = set()

    def note(name: str) -> str:
        names.add(name)
        return name

    replace_references(where, note)
    return bool(names)


def replace_references(where: Where, value_of: Callable[[str], Any]) -> Where:
    """Replace what stands for values of a product.

    - `where`: a dict of conditions.
    - `value_of`: the product's value of a column.

    Returns another dict. Raises InputError where the filter is too large, and what `value_of` raises.
    """
    check_size(where)
    return _replaced(where, value_of)  # type: ignore[no-any-return]


def product_value(columns: FilterColumns, row: int, name: str) -> Any:
    """The value of one product that `it.NAME` stands for.

    Raises InputError for a column that is not there or of lists, and where the product has no value.
    """
    check_reference(columns, name)
    column = columns.column(name)
    code = int(column.codes[row])
    if code < 0:
        raise InputError(f"where: {REFERENCE}.{name}: expected a product that has a {name}, found one without")
    return column.values[code]


def check_reference(kinds: Mapping[str, str], name: str) -> None:
    """Raise InputError unless `it.NAME` names a column of single values; `kinds` has the kind of each by name."""
    kind = kinds.get(name)
    if kind is None or kind in _LISTS:
        usable = ", ".join(sorted(column for column, its_kind in kinds.items() if its_kind not in _LISTS))
        found = describe(name) if kind is None else f"{kind} column {describe(name)}"
        raise InputError(f"where: {REFERENCE}.: expected a column of single values among {usable}, found {found}")


def _replaced(value: Any, value_of: Callable[[str], Any]) -> Any:
    if is_reference(value):
        return value_of(value[REFERENCE])
    if isinstance(value, Mapping):
        return {name: _replaced(inner, value_of) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(inner, value_of) for inner in value]
    return value
