"""The columns that filters see: those of a catalogue, and those that are read from its records when they are named.

- `id` and `text` are columns of strings. Several texts of a product are one, a line each.
- A dotted name, such as `size.eu`, is the field `eu` of the records in the field `size`. Of a list of records it is the
  list of their fields.

Names and strings are in the normal form NFC here, whatever the records have.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.product_sides import texts_of
from clipshelf.catalogue.typed_columns.columns import Column, columns_of, empty_column
from clipshelf.catalogue.typed_columns.kinds import kind_of
from clipshelf.last_used import LastUsed
from clipshelf.types import Product

RECORD_COLUMNS = ("id", "text")
_MAX_PARTS = 20  # of a dotted name
MOST_DOTTED = 128  # dotted columns that stay in memory; clients may name any


class FilterColumns(Mapping[str, str]):
    """The kind of each column by name, and the columns themselves.

    - `contents`: N products.
    - `dotted`: declarations of dotted columns by name, which may grow; those of others are inferred from their values.

    `id`, `text` and dotted names cost one pass over all records when they are first named. They stay in memory then, of
    the dotted ones those that were used last.
    """

    def __init__(self, contents: Contents, dotted: Mapping[str, str] | None = None) -> None:
        self._contents = contents
        self._declared = {} if dotted is None else dotted
        self._stored_name = {nfc(name): name for name in contents.kinds}
        self._opened: dict[str, Column] = {}
        self._dotted: LastUsed[tuple[str, str], Column | None] = LastUsed(MOST_DOTTED)

    def __getitem__(self, name: str) -> str:
        name = nfc(name)
        if name in self._stored_name:
            return self._contents.kinds[self._stored_name[name]]
        if name in RECORD_COLUMNS:
            return "text"
        return self._dotted_column(name).kind

    def __iter__(self) -> Iterator[str]:
        """The names of all columns without the dotted ones."""
        yield from self._stored_name
        yield from (name for name in RECORD_COLUMNS if name not in self._stored_name)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def column(self, name: str) -> Column:
        """Open the column `name`, which is there and is not of the kind mixed; its strings are in NFC."""
        name = nfc(name)
        if name not in self._stored_name and name not in RECORD_COLUMNS:
            return self._dotted_column(name)
        column = self._opened.get(name)
        if column is None:
            column = self._opened[name] = self._open(name)
        return column

    def is_read(self, name: str) -> bool:
        """Whether a column that is there can be opened without a pass over all records."""
        name = nfc(name)
        if name in RECORD_COLUMNS:
            return name in self._opened
        return name in self._stored_name or (name, self._declared.get(name, "")) in self._dotted

    def _open(self, name: str) -> Column:
        if name in self._stored_name:
            return _normalised(self._contents.column(self._stored_name[name]))
        if name == "id":
            return _text_column(self._contents.ids)
        return _text_column(
            ["\n".join(texts_of(product)) if "text" in product else None for product in self._contents.products]
        )

    def _dotted_column(self, name: str) -> Column:
        """The column of a dotted name; raises KeyError where no record has such a field."""
        head = name.partition(".")[0] if isinstance(name, str) else name
        stored = self._stored_name.get(head)
        if stored is None or not is_dotted(name, {head: self._contents.kinds[stored]}):
            raise KeyError(name)
        declaration = self._declared.get(name, "")
        column = self._dotted.get((name, declaration), lambda: self._read_dotted(name, declaration))
        if column is None:
            raise KeyError(name)
        return column

    def _read_dotted(self, name: str, declaration: str) -> Column | None:
        """The column of a dotted name by the records, None where none has such a field and none is declared."""
        column = columns_of(self.dotted_fields(name), {name: declaration}).get(name)
        if column is None and declaration:
            column = empty_column(kind_of(declaration), len(self._contents), declaration)
        return None if column is None else _normalised(column)

    def dotted_fields(self, name: str) -> Iterator[Product]:
        """For each product a record with the value of a dotted name, without any where it has none."""
        head, *path = nfc(name).split(".")
        stored = self._stored_name.get(head)
        for product in self._contents.products:
            value = None if stored is None else _value_at(product.get(stored), path)
            yield {} if value is None else {name: value}


def is_dotted(name: str, kinds: Mapping[str, str]) -> bool:
    """Whether a name may be that of a field of records in a column.

    - `kinds`: the kind of each column by name.
    """
    head, *path = name.split(".")
    return 0 < len(path) <= _MAX_PARTS and kinds.get(head) == "mixed"


def nfc(text: Any) -> Any:
    """A text in the normal form NFC; what is no string stays as it is."""
    return unicodedata.normalize("NFC", text) if isinstance(text, str) else text


def _value_at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path of field names; of a list, the values of its items that have one."""
    if not path:
        return value
    if isinstance(value, list):
        values = [_value_at(item, path) for item in value]
        return [inner for inner in values if inner is not None]
    if not isinstance(value, dict):
        return None
    key = next((key for key in value if nfc(key) == path[0]), None)
    return None if key is None else _value_at(value[key], path[1:])


def _text_column(texts: Sequence[str | None]) -> Column:
    """A column of N strings, None for a product without one."""
    normal = [None if text is None else nfc(text) for text in texts]
    values = sorted({text for text in normal if text is not None})
    code_of: dict[str | None, int] = {text: code for code, text in enumerate(values)}
    codes = np.fromiter((code_of.get(text, -1) for text in normal), np.int64, len(normal))
    return Column("text", values, codes=codes)


def _normalised(column: Column) -> Column:
    """A column whose strings are in NFC."""
    if column.kind not in ("text", "texts") or all(unicodedata.is_normalized("NFC", text) for text in column.values):
        return column
    values = sorted({nfc(text) for text in column.values})
    code_of = {text: code for code, text in enumerate(values)}
    new_code = np.array([code_of[nfc(text)] for text in column.values], np.int64)
    if not column.is_list:
        return replace(column, values=values, codes=np.where(column.codes < 0, -1, new_code[column.codes]))
    codes = np.repeat(new_code, np.diff(column.starts))
    pairs = np.unique(np.stack([codes, column.rows.astype(np.int64)]), axis=1)
    starts = np.searchsorted(pairs[0], np.arange(len(values) + 1))
    return replace(column, values=values, rows=pairs[1], starts=starts.tolist())
