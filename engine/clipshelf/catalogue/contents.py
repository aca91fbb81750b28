"""The contents of a catalogue, N products in the order of their rows: what they offer, and contents in memory.

`disk.generation` has the same contents on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.content_keys import KEY_SIZE, Keys, id_keys
from clipshelf.catalogue.lexical.word_edits import IndexedWords
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.side_parts import NO_PARTS, SideParts
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

    @property
    def parts(self) -> SideParts:
        """The pictures and texts of products that have several."""


@dataclass(frozen=True)
class MemoryContents:
    """`Contents` in memory. Ids, statistics and columns are computed on first use; pickling leaves them out.

    - `products`: N records.
    - `embeddings`: (N, 2D) float32, image rows | text rows, zeros where a product lacks a side.
    - `keys`: (N, 3, 16) uint8 keys of id, picture and text.
    - `declared`: the declarations of columns; those of others are inferred.
    - `word_columns`: the fields whose words are indexed.
    - `parts`: the pictures and texts of products that have several.
    - `indexed_words`: the index of words from before an edit, from which that of these products is made.
    """

    products: Sequence[Product]
    embeddings: FloatArray
    keys: Keys
    declared: Mapping[str, Declaration] = field(default_factory=dict)
    word_columns: Sequence[str] = ()
    parts: SideParts = NO_PARTS
    indexed_words: IndexedWords | None = None

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
        if not self.word_columns:
            return None
        if self.indexed_words is not None:
            return self.indexed_words.index_now(self.products, self.word_columns)
        return WordIndex.of(self.products, self.word_columns)

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
            "parts": self.parts,
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


def _is_filled(rows: FloatArray) -> Mask:
    """(n,) bool, false for rows (n, D) of zeros. The first eight numbers decide it for nearly all rows."""
    filled: Mask = np.any(rows[:, :8], axis=1)
    unclear = np.flatnonzero(~filled)
    filled[unclear] = np.any(rows[unclear], axis=1)
    return filled
