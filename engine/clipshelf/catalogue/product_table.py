"""Products that are looked up by id, read, and filtered by their columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.content_keys import KeyIndex, id_keys
from clipshelf.catalogue.contents import Contents, present_sides
from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.filtering.filter_columns import FilterColumns
from clipshelf.catalogue.filtering.filter_parser import parse_where
from clipshelf.catalogue.filtering.filter_words import split_terms, to_words
from clipshelf.catalogue.filtering.filters import Filter
from clipshelf.catalogue.ids import product_id
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.messages import unknown_ids_error
from clipshelf.catalogue.statistics import Statistics
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.types import FloatArray, Mask, Product, Rows

# What is computed on first use, and not pickled.
_COMPUTED = ("present", "columns", "_id_index")


class ProductTable:
    """N products and their embeddings, one in each row.

    - `contents`: the products, in memory or on disk.

    Pickling leaves out what is computed on first use.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def __len__(self) -> int:
        return len(self._contents)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _COMPUTED}

    @property
    def contents(self) -> Contents:
        """The products and their embeddings, in memory or on disk."""
        return self._contents

    @property
    def products(self) -> Sequence[Product]:
        """N records, in the order of the rows; those of a loaded catalogue are parsed each time that they are read."""
        return self._contents.products

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Return the records of n rows.

        - `rows`: n row numbers from 0 to N - 1, in any order.

        Raises InputError for a row that is not there. A loaded catalogue parses the records now; they do not keep it
        alive.
        """
        return self._contents.records(rows)

    @property
    def ids(self) -> list[str]:
        """N ids, in the order of the rows."""
        return self._contents.ids

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self._contents.dim

    @property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, image rows | text rows; a loaded catalogue has them memory-mapped.

        The first use of a loaded matrix raises CatalogueError if it is not as it was saved.
        """
        return self._contents.embeddings

    @property
    def image_embeds(self) -> FloatArray:
        """(N, D) float32 view of the image rows."""
        return self.embeddings[:, : self.dim]

    @property
    def text_embeds(self) -> FloatArray:
        """(N, D) float32 view of the text rows."""
        return self.embeddings[:, self.dim :]

    @cached_property
    def present(self) -> Mask:
        """(N, 2) bool: whether each product has an image row, and a text row."""
        return present_sides(self.embeddings)

    @property
    def statistics(self) -> Statistics:
        """Means of both sides and spreads of their cosines, as the module `statistics` explains."""
        return self._contents.statistics

    @cached_property
    def columns(self) -> FilterColumns:
        """The kind of each column by name, and the columns themselves, as filters see them."""
        return FilterColumns(self._contents)

    @property
    def words(self) -> WordIndex | None:
        """The index of words that `ProductFields.words` asked for, None without one."""
        return self._contents.words

    def row(self, id_: str) -> int:
        """Return the row of the product `id_`; raises UnknownIdError."""
        return int(self.rows([id_])[0])

    def rows(self, ids: Iterable[str]) -> Rows:
        """Return the (n,) int64 rows of n ids; raises UnknownIdError naming those that are not there."""
        listed = self.listed_ids(ids)
        rows = self.find(listed)
        if (rows < 0).any():
            raise unknown_ids_error((listed[i] for i in np.flatnonzero(rows < 0).tolist()), len(self))
        return rows

    def find(self, ids: Iterable[str]) -> Rows:
        """Return the (n,) int64 rows of n ids, -1 for an id that is not there.

        - `ids`: strings, or what `products.product_id` takes. Raises InputError for anything else.
        """
        return self._id_index.find(id_keys(id_ if type(id_) is str else product_id(id_) for id_ in ids))

    @staticmethod
    def listed_ids(ids: Iterable[str]) -> list[str]:
        """Return ids as a list; raises InputError for a single one."""
        if isinstance(ids, str):
            raise InputError(f"ids: expected a sequence of ids, found one str {describe(ids)}")
        return [id_ if type(id_) is str else product_id(id_) for id_ in ids]

    def mask(self, where: Where | str) -> Mask:
        """Evaluate a filter.

        - `where`: a dict of conditions, or the filter in words; `docs/filters.md` explains both.

        Returns (N,) bool, true for the products that fulfil it. Raises InputError.
        """
        return self._filter.mask(self.parsed(where))

    def count_passing(self, where: Where | str) -> dict[str, int]:
        """Tell how many products each term of a filter lets through.

        - `where`: as `mask` takes it; its terms are the conditions that all must hold.

        Returns the numbers of products by term, in words. Raises InputError.
        """
        where = self.parsed(where)
        self._filter.mask(where)  # checks it before it is split
        return {to_words(term): int(self._filter.mask(term).sum()) for term in split_terms(where)}

    def parsed(self, where: Where | str) -> Where:
        """A filter in words as a dict of conditions; a dict stays as it is. Raises InputError."""
        return parse_where(where, self.columns) if isinstance(where, str) else where

    @property
    def _filter(self) -> Filter:
        return Filter(self.columns, self.columns.column, len(self))

    @cached_property
    def _id_index(self) -> KeyIndex:
        return KeyIndex(self._contents.keys[:, 0])
