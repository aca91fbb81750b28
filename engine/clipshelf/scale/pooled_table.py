"""The products of one shard, with the kinds of columns that all shards have together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clipshelf.catalogue.content_keys import Keys
from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.filtering.filter_columns import MOST_DOTTED, FilterColumns
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.product_table import ProductTable
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import Statistics
from clipshelf.catalogue.typed_columns.columns import Column, columns_of, empty_column
from clipshelf.scale.selections import ColumnsUnread
from clipshelf.types import FloatArray, Product, Rows


class PooledContents:
    """`Contents` of a shard whose columns are of the kinds of all shards.

    - `contents`: the shard's own.
    - `kinds`, `declarations`: pooled.

    A column that the shard has in another way, or not at all, is made of its records.
    """

    def __init__(self, contents: Contents, kinds: Mapping[str, Any], declarations: Mapping[str, str]) -> None:
        self._contents = contents
        self.kinds = kinds
        self.declarations = declarations

    def __len__(self) -> int:
        return len(self._contents)

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self._contents.dim

    @property
    def ids(self) -> list[str]:
        """N ids."""
        return self._contents.ids

    @property
    def products(self) -> Sequence[Product]:
        """N records."""
        return self._contents.products

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """The records of n rows."""
        return self._contents.records(rows)

    @property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32."""
        return self._contents.embeddings

    @property
    def keys(self) -> Keys:
        """(N, 3, 16) uint8 keys."""
        return self._contents.keys

    @property
    def statistics(self) -> Statistics:
        """Those of the shard alone."""
        return self._contents.statistics

    @property
    def word_columns(self) -> Sequence[str]:
        """The fields whose words are indexed."""
        return self._contents.word_columns

    @property
    def words(self) -> WordIndex | None:
        """The shard's own index of words."""
        return self._contents.words

    @property
    def parts(self) -> SideParts:
        """The pictures and texts of products that have several."""
        return self._contents.parts

    def column(self, name: str) -> Column:
        """Open the column `name`, which is not of the kind mixed."""
        kind, declaration = self.kinds[name], self.declarations.get(name, "")
        contents = self._contents
        if contents.kinds.get(name) == kind and contents.declarations.get(name, "") == declaration:
            return contents.column(name)
        column = None
        if declaration and name in contents.kinds:
            fields: list[Product] = [{name: record[name]} if name in record else {} for record in contents.products]
            column = columns_of(fields, {name: declaration}).get(name)
        return column or empty_column(kind, len(self), declaration)


class PooledTable(ProductTable):
    """A shard's products, as filters see them.

    - `contents`: with pooled kinds.

    A dotted column must be declared before it is named: its kind follows from the values of all shards.
    """

    def __init__(self, contents: PooledContents) -> None:
        super().__init__(contents)
        self._declared: dict[str, str] = {}
        self._filter_columns = FilterColumns(contents, self._declared)

    def require(self, declarations: Mapping[str, str]) -> None:
        """Take declarations of columns that are read from records, pooled; that of a column is always the same.

        Raises ColumnsUnread where some have not been read; not for more than stay in memory, which are read when used.
        """
        self._declared.update(declarations)
        if len(declarations) <= MOST_DOTTED and not all(map(self._filter_columns.is_read, declarations)):
            raise ColumnsUnread(declarations)

    def read(self, declarations: Mapping[str, str]) -> None:
        """Read columns from the records."""
        self._declared.update(declarations)
        for name in declarations:
            self._filter_columns.column(name)

    @property
    def columns(self) -> FilterColumns:
        """The columns, dotted ones as they are declared."""
        return self._filter_columns
