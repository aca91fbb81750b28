"""Typed columns over product records, which filters search.

Every field of a record except id, text and image is a column, of one of the kinds that `kinds` lists. A column stores
its distinct values once, sorted, so that a filter compares small integers. Its values are those that filters compare;
the records keep what was indexed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.typed_columns.column_values import ColumnValues, gather_columns
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence
from clipshelf.catalogue.typed_columns.inference import convert_all, infer
from clipshelf.catalogue.typed_columns.kinds import Declaration, Kind, kind_of
from clipshelf.types import Product

SmallInts: TypeAlias = npt.NDArray[np.signedinteger[Any]]

_LIST_KINDS: tuple[Kind, ...] = ("numbers", "texts")


def _no_entries() -> SmallInts:
    return np.empty(0, np.int8)


@dataclass(frozen=True)
class Column:
    """One column of N products.

    - `kind`: the type of its values, as listed at the head of `kinds`.
    - `values`: the V distinct values, sorted. Those of the kind date are ISO strings, in UTC where they name a zone,
      `2026-05-01` for a midnight and else `2026-05-01T09:30:00`, so that they sort by time.
    - `codes`: (N,) position of each product's value in `values`, -1 for a product without one; empty for a column of
      lists.
    - `rows`: for a column of lists only: the rows that hold `values[0]`, then those that hold `values[1]`, and so on,
      each group ascending.
    - `starts`: for a column of lists only: V + 1 positions in `rows`, where each group starts, and the end.
    - `declaration`: what `columns_of` takes to convert later values alike, "" as long as no value decides it.
    """

    kind: Kind
    values: list[Any]
    codes: SmallInts = field(default_factory=_no_entries)
    rows: SmallInts = field(default_factory=_no_entries)
    starts: list[int] = field(default_factory=list)
    declaration: Declaration = ""

    @property
    def is_list(self) -> bool:
        """Whether each product has a list of values."""
        return self.kind in _LIST_KINDS

    def code(self, value: Any) -> int:
        """Position of `value` in `values`, -1 if no product has it."""
        position = bisect_left(self.values, value)
        return position if position < len(self.values) and self.values[position] == value else -1

    def equals(self, other: Column) -> bool:
        """Whether both columns have the same kind, values and rows."""
        return (
            (self.kind, self.values, self.starts) == (other.kind, other.values, other.starts)
            and np.array_equal(self.codes, other.codes)
            and np.array_equal(self.rows, other.rows)
        )


def columns_of(products: Iterable[Product], declarations: Mapping[str, Declaration] | None = None) -> dict[str, Column]:
    """Build the columns of products.

    - `products`: N records, in the order of their rows.
    - `declarations`: the declarations of columns by name, such as the catalogue keeps them; that of any other column
      is inferred from its values. A name that no product has is ignored, and so is an empty declaration.

    Returns the columns by name, in the order in which the names first occur. A value that cannot be converted to the
    kind of its column counts as missing.
    """
    count, gathered = gather_columns(products)
    known = declarations or {}
    return {name: _column(name, values, count, known.get(name, "")) for name, values in gathered.items()}


def empty_column(kind: Kind, count: int, declaration: Declaration = "") -> Column:
    """A column in which none of `count` products has a value."""
    if kind in _LIST_KINDS:
        return Column(kind, [], starts=[0], declaration=declaration)
    return Column(kind, [], codes=np.full(count, -1, np.int8), declaration=declaration)


def _column(name: str, values: ColumnValues, count: int, declaration: Declaration) -> Column:
    """The column of `count` products that have `values`."""
    if declaration:
        kind = kind_of(declaration)
    else:
        inferred = infer(name, ColumnEvidence.of(values))
        kind, declaration = inferred.kind, inferred.declaration
    if kind == "mixed":
        return Column(kind, [], declaration=declaration)
    converted = convert_all(values.distinct, declaration or kind)
    table = sorted({value for value in converted if value is not None})
    position = {value: i for i, value in enumerate(table)} | {None: -1}
    code_of = np.array([position[value] for value in converted] or [0], np.int64)
    rows, codes = np.array(values.rows, np.int64), code_of[np.array(values.codes, np.int64)]
    if kind not in _LIST_KINDS:
        code_of_row = np.full(count, -1, _smallest_type(len(table)))
        code_of_row[rows] = codes
        return Column(kind, table, codes=code_of_row, declaration=declaration)
    rows = np.concatenate((rows, np.array(values.item_rows, np.int64)))
    codes = np.concatenate((codes, code_of[np.array(values.item_codes, np.int64)]))
    rows, codes = rows[codes >= 0], codes[codes >= 0]
    order = np.lexsort((rows, codes))
    starts = np.searchsorted(codes[order], np.arange(len(table) + 1))
    rows = rows[order].astype(_smallest_type(count))
    return Column(kind, table, rows=rows, starts=starts.tolist(), declaration=declaration)


def _smallest_type(count: int) -> npt.DTypeLike:
    """The smallest signed integer type that holds 0 to `count`: a filter then reads less memory."""
    return next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if count <= np.iinfo(dtype).max)
