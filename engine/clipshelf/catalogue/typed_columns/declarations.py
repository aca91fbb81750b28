"""Decides the kind of each column of new products, and says which values do not fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipshelf.catalogue.messages import OnWarning
from clipshelf.catalogue.typed_columns.cells import bool_of, plain_number
from clipshelf.catalogue.typed_columns.column_values import ColumnValues, gather_columns, gather_texts
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence
from clipshelf.catalogue.typed_columns.inference import find_odd, infer
from clipshelf.catalogue.typed_columns.kinds import Declaration, kind_of
from clipshelf.types import Product


def declare_columns(
    products: Sequence[Product],
    declared: Mapping[str, Declaration],
    known: Mapping[str, Declaration],
    *,
    is_text: bool,
    warn: OnWarning,
) -> dict[str, Declaration]:
    """Decide the declaration of each column.

    - `products`: n products. Where they come from a table of text, cells of columns of numbers that are spelt as JSON
      spells a number become numbers, and `true` and `false` in columns of bools become these.
    - `declared`: declarations of the caller, which go before all others.
    - `known`: those of the catalogue that the products come into, which go before what the values show.
    - `is_text`: whether the products come from a table of text.
    - `warn`: called for values that do not fit the kind of their column, and for doubtful columns.

    Returns the declarations by column, "" for one that no value decides; those of `known` and `declared` are included.
    """
    declarations = {**known, **declared}
    columns = gather_texts(products) if is_text else gather_columns(products)[1]
    for name, values in columns.items():
        declaration = declarations.get(name, "")
        if not declaration:
            inferred = infer(name, ColumnEvidence.of(values))
            declaration = inferred.declaration
            if inferred.remark:
                warn(f"column {name}: {inferred.remark}")
        declarations[name] = declaration
        if declaration:
            _warn_of_odd_values(products, name, values, declaration, warn)
            if is_text:
                _type_cells(products, name, values, declaration)
    return declarations


def _warn_of_odd_values(
    products: Sequence[Product], name: str, values: ColumnValues, declaration: Declaration, warn: OnWarning
) -> None:
    odd = find_odd(values, declaration)
    if odd.count:
        examples = ", ".join(
            f"{value if value in ('a list', 'a record') else repr(value)} of {products[row]['id']!r}"
            for row, value in odd.examples
        )
        kind = kind_of(declaration)
        hint = f"; declare {name}:text to keep all values" if kind not in ("text", "texts") else ""
        what = "1 value counts" if odd.count == 1 else f"{odd.count} values count"
        warn(f"column {name}: {what} as missing, since the kind is {kind}: {examples}{hint}")


def _type_cells(products: Sequence[Product], name: str, values: ColumnValues, declaration: Declaration) -> None:
    """Turn the plainly spelt cells of a column into numbers, or true and false."""
    kind = kind_of(declaration)
    if kind == "number":
        typed = [plain_number(cell) if isinstance(cell, str) else None for cell in values.distinct]
        if declaration == "number:,":
            typed = [None if isinstance(value, float) else value for value in typed]
    elif kind == "bool":
        words = ("true", "false")
        typed = [bool_of(cell) if isinstance(cell, str) and cell.lower() in words else None for cell in values.distinct]
    else:
        return
    for row, code in zip(values.rows, values.codes, strict=True):
        value = typed[code]
        if value is not None:
            products[row][name] = value
