"""Checks one record of a source and turns it into a product: an id, a text, a picture or both, and plain values."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import math
import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from clipshelf.catalogue.ids import has_surrogate, product_id
from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.reading.missing import is_missing
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.catalogue.reading.side_values import SideReader
from clipshelf.catalogue.typed_columns.cells import is_nothing
from clipshelf.errors import InputError
from clipshelf.types import Product

_DEEPEST = 100
_LONGEST_PATH = 80  # characters of the names that lead to a value, for a message


class RecordChecker:
    """Turns records into products.

    - `fields`: the names of the columns of id, text and image, as the source has them.
    - `is_text`: whether all values are text, of a table.
    - `ids_required`: whether a product without an id is an error; else it gets its position.
    - `partial`: whether a product may lack both text and image.

    - `without_id`: the number of products that got their position as id.
    - `float_id`: the first id that was a float, None if none was.
    - `left_out`: by column, why each value that a record cannot hold was left out.
    """

    def __init__(self, fields: ProductFields, *, is_text: bool, ids_required: bool, partial: bool) -> None:
        self._id_name = fields.id
        self._new_names = {fields.id: "id"}
        self._new_names |= dict.fromkeys(fields.text_columns, "text") | dict.fromkeys(fields.image_columns, "image")
        self._renamed = [(column, name) for column, name in self._new_names.items() if column != name]
        self._sides = SideReader(fields)
        self._is_text = is_text
        self._ids_required = ids_required
        self._partial = partial
        self._field_sets: dict[tuple[str, ...], frozenset[str]] = {}
        self.without_id = 0
        self.float_id: float | None = None
        self.left_out: dict[str, list[str]] = {}

    def fields(self, record: Mapping[str, Any]) -> frozenset[str]:
        """The names of a record's fields, those of id, text and image being these; raises InputError for bad ones."""
        names = tuple(record)
        known = self._field_sets.get(names)
        if known is None:
            _check_names(names)
            known = self._field_sets[names] = frozenset(self._new_names.get(name, name) for name in names)
        return known

    def raw_id(self, record: Any) -> Any:
        """The id of a record as the source has it, None where it has none."""
        id_ = record.get(self._id_name) if isinstance(record, Mapping) else None
        return None if is_missing(id_) else id_

    def product(self, position: int, record: Any) -> Product:
        """The product of a record; raises InputError naming it."""
        if not isinstance(record, Mapping):
            raise InputError(
                f"product {position}: expected a dict with text, image or both, found {type(record).__name__}"
            )
        raw_id = self.raw_id(record)
        where = f"product {position}" if raw_id is None else f"product {raw_id!r:.80}"
        try:
            self.fields(record)
        except InputError as error:
            raise InputError(f"product {position}: {error}") from None
        values = self._values(record, where)
        self._sides.read(record, values, where)
        if "text" not in values and "image" not in values and not self._partial:
            raise InputError(f"{where}: expected a text, an image or both, found {shorten_list(values) or 'nothing'}")
        id_ = self._id(values.pop("id", None), position, where)
        # The order of the fields is part of the catalogue format.
        image = {"image": values.pop("image")} if "image" in values else {}
        if self._is_text:
            return {"id": id_, **image, **values}
        return {"id": id_, **image, **self._plain_values(values, where)}

    def _values(self, record: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The values of a record that are something, by their new names."""
        for column, name in self._renamed:
            if column in record and name in record and name not in self._new_names:
                raise InputError(
                    f"{where}: expected one column for {name}, found {column} and {name}: rename or drop one"
                )
        new_names = self._new_names
        if self._is_text:
            values = {new_names.get(name, name): cell for name, cell in record.items() if cell}
        else:
            values = {new_names.get(name, name): value for name, value in record.items() if not is_missing(value)}
        if isinstance(values.get("id"), str) and is_nothing(values["id"]):
            del values["id"]
        return values

    def _id(self, value: Any, position: int, where: str) -> str:
        if value is None:
            if self._ids_required:
                raise InputError(f"{where}: expected an id, found none")
            self.without_id += 1
            return str(position)
        if isinstance(value, float) and self.float_id is None:
            self.float_id = value
        try:
            return product_id(value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def _plain_values(self, values: dict[str, Any], where: str) -> dict[str, Any]:
        plain = {}
        for name, value in values.items():
            if (type(value) is str and value.isascii()) or type(value) in (int, bool):
                plain[name] = value
                continue
            try:
                plain[name] = _plain(value, name, 0)
            except InputError as error:
                if name == "text":
                    raise InputError(f"{where}: {error}") from None
                self.left_out.setdefault(name, []).append(f"{where}: {error}")
        return plain


def _check_names(names: Iterable[Any]) -> None:
    """Raise InputError unless the names of fields are Unicode text."""
    bad_names = [name for name in names if not isinstance(name, str) or has_surrogate(name)]
    if bad_names:
        found = shorten_list(map(ascii, bad_names))
        raise InputError(f"expected field names in Unicode text, found {found}")


def _plain(value: Any, where: str, depth: int) -> Any:
    """`value` in the types that JSON has; raises InputError for one that none of them can hold."""
    value = _without_classes(value)
    if isinstance(value, str):
        if has_surrogate(value):
            raise InputError(f"{where}: expected Unicode text, found a lone surrogate")
        return str(value)
    if isinstance(value, (bool, int)) or value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    if depth == _DEEPEST:
        raise InputError(f"{where[:_LONGEST_PATH]}: expected lists and dicts nested less deeply than {_DEEPEST}")
    if isinstance(value, (list, tuple)):
        return [
            _plain(item if isinstance(item, str) or not is_missing(item) else None, where, depth + 1) for item in value
        ]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    found = repr(value) if isinstance(value, float) else type(value).__name__
    raise InputError(
        f"{where}: expected text, a finite number, true, false, or lists and dicts of these, found {found}"
    )


def _without_classes(value: Any) -> Any:
    """A value of NumPy, a date, an amount, a set or the like in the nearest type that JSON has; others as they are."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        # Nanoseconds would become integers.
        value = value.astype(f"{'M' if isinstance(value, np.datetime64) else 'm'}8[us]")
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (decimal.Decimal, fractions.Fraction)):
        return float(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value) if isinstance(value, (uuid.UUID, os.PathLike)) else value
