"""Contents with products appended, changed or removed. The contents that they come from stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from clipshelf.catalogue.contents import Contents, MemoryContents
from clipshelf.catalogue.lexical.word_edits import IndexedWords, same_words
from clipshelf.catalogue.statistics import SIDES
from clipshelf.catalogue.typed_columns.kinds import Declaration
from clipshelf.types import Product, Rows

# The positions of the first fields of a record.
_FIRST = {"id": 0, "image": 1}


def append_products(old: Contents, new: MemoryContents) -> MemoryContents:
    """Return `old` followed by the products of `new`, with the declarations of both."""
    return MemoryContents(
        [*old.products, *new.products],
        np.concatenate((old.embeddings, new.embeddings)) if len(new) else old.embeddings,
        np.concatenate((old.keys, new.keys)),
        _joined(old, new),
        old.word_columns,
        old.parts.append(new.parts, len(old)),
        _indexed_words(old, np.append(np.arange(len(old)), np.full(len(new), -1))),
    )


def replace_fields(old: Contents, rows: Rows, new: MemoryContents, fields: Sequence[frozenset[str]]) -> MemoryContents:
    """Change fields of products; the others stay.

    - `rows`: (n,) rows of `old`.
    - `new`: n products with the new values.
    - `fields`: n sets of the names that change; one without a value in `new` is removed.

    Where no embedding changes, the result has the very matrix of `old`, so that a save need not write it again.
    """
    products, keys, matrix = list(old.products), old.keys.copy(), old.embeddings
    origins = np.arange(len(old))
    for row, product, names in zip(rows.tolist(), new.products, fields, strict=True):
        before, products[row] = products[row], merge_records(products[row], product, names)
        if not same_words(before, products[row], old.word_columns):
            origins[row] = -1
    changed = np.array(matrix[rows])
    dim = matrix.shape[1] // 2
    named = np.array([[side in names for side in SIDES] for names in fields], bool).reshape(-1, 2)
    for side, columns in enumerate((slice(dim), slice(dim, None))):
        has = named[:, side]
        keys[rows[has], 1 + side] = new.keys[has, 1 + side]
        changed[has, columns] = new.embeddings[has, columns]
    if not np.array_equal(matrix[rows], changed):
        matrix = np.array(matrix)
        matrix[rows] = changed
    parts = old.parts.replace(rows, new.parts, named)
    words = _indexed_words(old, origins)
    return MemoryContents(products, matrix, keys, _joined(old, new), old.word_columns, parts, words)


def merge_records(old: Product, new: Product, names: Set[str]) -> Product:
    """Return a record with the values that `new` has for `names`, and those of `old` for all others."""
    merged = {name: (new if name in names else old).get(name) for name in (*old, *new)}
    merged = {name: value for name, value in merged.items() if value is not None}
    # The order of the fields is part of the catalogue format: id, image, then the others.
    return {name: merged[name] for name in sorted(merged, key=lambda name: _FIRST.get(name, len(_FIRST)))}


def rows_of(contents: Contents, rows: Rows) -> MemoryContents:
    """Return the products of n rows (n,), copied."""
    return MemoryContents(
        contents.records(rows), contents.embeddings[rows], contents.keys[rows], parts=contents.parts.take(rows)
    )


def remove_rows(old: Contents, rows: Rows) -> MemoryContents:
    """Return `old` without its rows (n,); the others keep their order."""
    remains = np.ones(len(old), bool)
    remains[rows] = False
    products = [product for product, remain in zip(old.products, remains.tolist(), strict=True) if remain]
    origins = np.flatnonzero(remains)
    return MemoryContents(
        products,
        old.embeddings[remains],
        old.keys[remains],
        old.declarations,
        old.word_columns,
        old.parts.take(origins),
        _indexed_words(old, origins),
    )


def _indexed_words(old: Contents, origins: Rows) -> IndexedWords | None:
    return None if old.words is None else IndexedWords(old.words, origins)


def _joined(old: Contents, new: MemoryContents) -> Mapping[str, Declaration]:
    """The declarations of both; those of `new` were made with those of `old` in mind."""
    return {**old.declarations, **{name: declaration for name, declaration in new.declared.items() if declaration}}
