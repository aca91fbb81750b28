"""The contents of a catalogue, N products in the order of their rows: what they offer, and contents in memory.

`disk.generation` has the same contents on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.content_keys import KEY_SIZE, Keys, id_keys
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.statistics import Statistics
from clipshelf.catalogue.typed_columns.columns import Column, columns_of
from clipshelf.catalogue.typed_columns.kinds import Declaration, Kind
from clipshelf.errors import InputError
from clipshelf.types import FloatArray, Mask, Product, Rows


class Contents(Protocol):
    """N products and their embeddings, on disk or in memory. They do not change."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """D, the width of one side."""

    @property
    def ids(self) -> list[str]:
        """N ids."""

    @property
    def products(self) -> Sequence[Product]:
        """N records."""

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Return the records of n rows, in the order of `rows`; raises InputError for a row that is not there."""

    @property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, image rows | text rows."""

    @property
    def keys(self) -> Keys:
        """(N, 3, 16) uint8 keys of id, picture and text."""

    @property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each column by name."""

    @property
    def declarations(self) -> Mapping[str, Declaration]:
        """What `columns_of` takes to convert later values of each column alike."""

    def column(self, name: str) -> Column:
        """Return the column `name`, which is not of the kind mixed."""

    @property
    def word_columns(self) -> Sequence[str]:
        """The fields whose words are indexed."""

    @property
    def words(self) -> WordIndex | None:
        """The index of these words, None without such fields."""


@dataclass(frozen=True)
class MemoryContents:
    """`Contents` in memory. Ids, statistics and columns are computed on first use; pickling leaves them out.

    - `products`: N records.
    - `embeddings`: (N, 2D) float32, image rows | text rows, zeros where a product lacks a side.
    - `keys`: (N, 3, 16) uint8 keys of id, picture and text.
    - `declared`: the declarations of columns; those of others are inferred.
    - `word_columns`: the fields whose words are indexed.
    """

    products: Sequence[Product]
    embeddings: FloatArray
    keys: Keys
    declared: Mapping[str, Declaration] = field(default_factory=dict)
    word_columns: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.products)

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return int(self.embeddings.shape[1]) // 2

    @cached_property
    def ids(self) -> list[str]:
        """N ids."""
        return [product["id"] for product in self.products]

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Return the records of n rows, in the order of `rows`; raises InputError for a row that is not there."""
        return [self.products[row] for row in checked_rows(rows, len(self))]

    @cached_property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        return Statistics.of(self.embeddings)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each column by name."""
        return {name: column.kind for name, column in self._columns.items()}

    @property
    def declarations(self) -> Mapping[str, Declaration]:
        """What `columns_of` takes to convert later values of each column alike."""
        inferred = {name: column.declaration for name, column in self._columns.items()}
        return inferred | {name: declaration for name, declaration in self.declared.items() if declaration}

    def column(self, name: str) -> Column:
        """Return the column `name`."""
        return self._columns[name]

    @cached_property
    def words(self) -> WordIndex | None:
        """The index of the words of `word_columns`, None without any."""
        return WordIndex.of(self.products, self.word_columns) if self.word_columns else None

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return columns_of(self.products, self.declared)

    def __getstate__(self) -> dict[str, Any]:
        # A matrix that is a memory map travels as a plain array.
        return {
            "products": list(self.products),
            "embeddings": np.asarray(self.embeddings),
            "keys": np.asarray(self.keys),
            "declared": dict(self.declared),
            "word_columns": tuple(self.word_columns),
        }


def contents_of_rows(matrix: FloatArray) -> MemoryContents:
    """Make contents of embeddings alone.

    - `matrix`: (N, 2D) float32, image rows | text rows.

    Returns N products whose ids are their positions.
    """
    ids = [str(row) for row in range(len(matrix))]
    keys = np.zeros((len(matrix), 3, KEY_SIZE), np.uint8)
    keys[:, 0] = id_keys(ids)
    return MemoryContents([{"id": id_} for id_ in ids], matrix, keys)


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
    )


def replace_fields(old: Contents, rows: Rows, new: MemoryContents, fields: Sequence[frozenset[str]]) -> MemoryContents:
    """Change fields of products; the others stay.

    - `rows`: (n,) rows of `old`.
    - `new`: n products with the new values.
    - `fields`: n sets of the names that change; one without a value in `new` is removed.

    Where no embedding changes, the result has the very matrix of `old`, so that a save need not write it again.
    """
    products, keys, matrix = list(old.products), old.keys.copy(), old.embeddings
    for row, product, names in zip(rows.tolist(), new.products, fields, strict=True):
        products[row] = merge_records(products[row], product, names)
    changed = np.array(matrix[rows])
    dim = matrix.shape[1] // 2
    for key, name, side in ((1, "image", slice(dim)), (2, "text", slice(dim, None))):
        has = np.array([name in names for names in fields], bool)
        keys[rows[has], key] = new.keys[has, key]
        changed[has, side] = new.embeddings[has, side]
    if not np.array_equal(matrix[rows], changed):
        matrix = np.array(matrix)
        matrix[rows] = changed
    return MemoryContents(products, matrix, keys, _joined(old, new), old.word_columns)


def merge_records(old: Product, new: Product, names: Set[str]) -> Product:
    """Return a record with the values that `new` has for `names`, and those of `old` for all others."""
    merged = {name: (new if name in names else old).get(name) for name in (*old, *new)}
    merged = {name: value for name, value in merged.items() if value is not None}
    # The order of the fields is part of the catalogue format: id, image, then the others.
    return {name: merged[name] for name in sorted(merged, key=lambda name: _FIRST.get(name, len(_FIRST)))}


def rows_of(contents: Contents, rows: Rows) -> MemoryContents:
    """Return the products of n rows (n,), copied."""
    return MemoryContents(contents.records(rows), contents.embeddings[rows], contents.keys[rows])


def remove_rows(old: Contents, rows: Rows) -> MemoryContents:
    """Return `old` without its rows (n,); the others keep their order."""
    remains = np.ones(len(old), bool)
    remains[rows] = False
    products = [product for product, remain in zip(old.products, remains.tolist(), strict=True) if remain]
    return MemoryContents(products, old.embeddings[remains], old.keys[remains], old.declarations, old.word_columns)


def present_sides(matrix: FloatArray) -> Mask:
    """Tell which sides products have.

    - `matrix`: (N, 2D) float32, image rows | text rows, zeros where a product lacks a side.

    Returns (N, 2) bool: whether each product has an image row, and a text row.
    """
    dim = matrix.shape[1] // 2
    return np.stack([_is_filled(matrix[:, :dim]), _is_filled(matrix[:, dim:])], axis=1)


def checked_rows(rows: Rows | Sequence[int], count: int) -> list[int]:
    """Return row numbers as a list; raises InputError unless all are between 0 and `count` - 1."""
    listed: list[int] = rows.tolist() if isinstance(rows, np.ndarray) else list(rows)
    if listed and (min(listed) < 0 or max(listed) >= count):
        wrong = next(row for row in listed if not 0 <= row < count)
        raise InputError(f"rows: expected rows of {count} products, from 0 on, found {wrong}")
    return listed


def _joined(old: Contents, new: MemoryContents) -> Mapping[str, Declaration]:
    """The declarations of both; those of `new` were made with those of `old` in mind."""
    return {**old.declarations, **{name: declaration for name, declaration in new.declared.items() if declaration}}


def _is_filled(rows: FloatArray) -> Mask:
    """(n,) bool, false for rows (n, D) of zeros. The first eight numbers decide it for nearly all rows."""
    filled: Mask = np.any(rows[:, :8], axis=1)
    unclear = np.flatnonzero(~filled)
    filled[unclear] = np.any(rows[unclear], axis=1)
    return filled
