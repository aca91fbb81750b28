"""The texts and pictures of one record of a source: of one column or several, one of each or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.reading.missing import is_missing
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.catalogue.side_parts import MAX_PARTS
from clipshelf.catalogue.typed_columns.cells import is_nothing
from clipshelf.errors import InputError

_KINDS = {"text": "texts", "image": "pictures"}


class SideReader:
    """Reads the sides of records.

    - `fields`: the names of the columns as the source has them, and what separates several values in one cell.
    """

    def __init__(self, fields: ProductFields) -> None:
        columns = {"text": fields.text_columns, "image": fields.image_columns}
        self._several = {side: names for side, names in columns.items() if len(names) > 1}
        separators = {"text": fields.text_separator, "image": fields.image_separator}
        self._separators = {side: separator for side, separator in separators.items() if separator}

    def read(self, record: Mapping[str, Any], values: dict[str, Any], where: str) -> None:
        """Put what a record has on both sides into its `values`, in place of what is there.

        - `record`: as the source has it.
        - `values`: its values by their new names; `text` and `image` are what one column has.
        - `where`: names the record, for messages.

        A side gets one text or picture, or a list of them without missing ones; none where there is none. Raises
        InputError for a text that is no string, for a dict that is no picture, and for a list in a list.
        """
        for side in _KINDS:
            value = values.get(side)
            names = self._several.get(side)
            if names:
                value = [item for name in names for item in self._items(side, record.get(name))]
                value = value[0] if len(value) == 1 else value
            elif is_list(value) or (side in self._separators and isinstance(value, str)):
                value = self._items(side, value)
                if len(value) == 1 and isinstance(values[side], str):
                    value = value[0]
            elif isinstance(value, str) and is_nothing(value):
                value = None
            value = _checked(side, value, where)
            if value is None or (isinstance(value, list) and not value):
                values.pop(side, None)
            elif value is not values.get(side):
                values[side] = value

    def _items(self, side: str, value: Any) -> list[Any]:
        """The values of one cell that are something."""
        separator = self._separators.get(side)
        if separator and isinstance(value, str):
            items: Sequence[Any] = [item.strip() for item in value.split(separator)]
        else:
            items = list(value) if is_list(value) else [value]
        return [item for item in items if not (is_missing(item) or (isinstance(item, str) and is_nothing(item)))]


def is_list(value: object) -> bool:
    """Whether a value is a list of texts or pictures; an array of numbers is one picture."""
    return isinstance(value, (list, tuple)) or (
        isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "OU"
    )


def _checked(side: str, value: Any, where: str) -> Any:
    """One text or picture, a list of them, or None for nothing. Raises InputError."""
    if isinstance(value, list):
        if len(value) > MAX_PARTS:
            raise InputError(f"{where}: {side}: expected at most {MAX_PARTS:,} {_KINDS[side]}, found {len(value):,}")
        if any(map(is_list, value)):
            raise InputError(f"{where}: {side}: expected a list of {_KINDS[side]}, found one with a list in it")
        items = [_checked(side, item, where) for item in value]
        return [item for item in items if item is not None]
    if side == "image":
        return _picture(value, where) if isinstance(value, Mapping) else value
    if value is not None and not isinstance(value, str):
        raise InputError(f"{where}: text: expected str, found {type(value).__name__}")
    return value


def _picture(value: Mapping[str, Any], where: str) -> Any:
    """The picture of a dict of bytes and path, as Hugging Face's datasets write it; None where both are missing."""
    if not value.keys() & {"bytes", "path"}:
        found = shorten_list(value) or "no field"
        raise InputError(f"{where}: image: expected a picture, or a dict of its bytes or path, found one of {found}")
    picture = value.get("bytes")
    return (value.get("path") or None) if picture is None else picture
