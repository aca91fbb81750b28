"""Adds products to contents, changes fields of products, and removes products; each gives other contents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clipshelf.catalogue.changes import NO_LOSSES, Changes, Losses
from clipshelf.catalogue.content_edits import append_products, remove_rows, replace_fields, rows_of
from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.disk.journal import EmbeddingTable
from clipshelf.catalogue.edit_ids import known_ids, select, select_known, select_new
from clipshelf.catalogue.embedding import EmbeddedBatch, embed_products
from clipshelf.catalogue.messages import OnWarning, shorten_list
from clipshelf.catalogue.product_table import ProductTable
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.catalogue.side_embedding import EmbeddingCache
from clipshelf.catalogue.statistics import SIDES
from clipshelf.errors import InputError
from clipshelf.failures import OnError
from clipshelf.model.engine import Engine
from clipshelf.types import Mask, PathLike, Product, Progress


@dataclass(frozen=True)
class Edit:
    """Edited contents.

    - `contents`: all products.
    - `changes`: from the contents before.
    - `losses`: what went without having been named.
    - `positions`: of the products that were added, in their source, in the order of their rows.
    """

    contents: Contents
    changes: Changes
    losses: Losses = NO_LOSSES
    positions: Sequence[int] = ()


@dataclass(frozen=True)
class Editor:
    """Edits the products of a table with an engine; the fields below are the parameters of `Catalogue.build`.

    - `table`: the products as they are.
    - `root`: the folder that their relative picture paths start from.

    Its methods take a source of products, or a batch that was read with the declarations of the table.
    """

    table: ProductTable
    root: Path
    engine: Engine
    fields: ProductFields
    on_error: OnError
    keep_text: bool
    on_warning: OnWarning | None
    progress: Progress | None

    def add(self, products: PathLike | Iterable[Product] | ProductBatch) -> Edit:
        """Append products, see `Catalogue.add`."""
        batch = self._read(products, partial=False)
        batch = select_new(batch, self.table, self.on_error)
        embedded = self._embed(batch, partial=False)
        new, positions = embedded.contents, batch.with_repeats().positions
        changes = replace(Changes.between(None, new), unchanged=len(self.table))
        contents = append_products(self.table.contents, new)
        return Edit(contents, changes, positions=[positions[row] for row in embedded.rows.tolist()])

    def update(self, products: PathLike | Iterable[Product] | ProductBatch) -> Edit:
        """Change fields of products, see `Catalogue.update`."""
        batch = self._read(products, partial=True)
        batch = select_known(batch, self.table, self.on_error)
        problem = "expected a text or an image to stay, found neither"
        batch = select(batch, self._keep_a_side(batch), problem, self.on_error)
        embedded = self._embed(batch, partial=True)
        fields = batch.with_repeats().fields
        names = [
            fields[row] - {"image"} if row in embedded.without_picture else fields[row]
            for row in embedded.rows.tolist()
        ]
        old, rows = self.table.contents, self.table.find(embedded.contents.ids)
        contents = replace_fields(old, rows, embedded.contents, names)
        changes = Changes.between(rows_of(old, rows), rows_of(contents, rows))
        changes = replace(changes, unchanged=len(old) - changes.replaced)
        return Edit(contents, changes, Losses(0, changes.pictures_lost, changes.texts_lost))

    def _read(self, products: PathLike | Iterable[Product] | ProductBatch, *, partial: bool) -> ProductBatch:
        known = self.table.contents.word_columns
        if self.fields.words and set(self.fields.words) != set(known):
            raise InputError(
                f"words: expected those of the catalogue, {shorten_list(known) or 'none'}, which index decides, found "
                f"{shorten_list(self.fields.words)}"
            )
        falloff, given = self.table.contents.parts.falloff, self.fields.falloff
        if given not in (None, falloff):
            raise InputError(
                f"falloff: expected that of the catalogue, {falloff:g}, which index decides, found {given:g}"
            )
        if isinstance(products, ProductBatch):
            return replace(products, falloff=falloff)
        return read_products(
            products,
            fields=replace(self.fields, words=(), falloff=falloff),
            on_error=self.on_error,
            ids_required=True,
            partial=partial,
            declarations=self.table.contents.declarations,
            on_warning=self.on_warning,
        )

    def _embed(self, batch: ProductBatch, *, partial: bool) -> EmbeddedBatch:
        return embed_products(
            self.engine,
            batch,
            root=self.root,
            cache=EmbeddingCache(embedding_tables(self.table.contents)),
            on_error=self.on_error,
            keep_text=self.keep_text,
            partial=partial,
            on_warning=self.on_warning,
            progress=self.progress,
        )

    def _keep_a_side(self, batch: ProductBatch) -> Mask:
        """(n,) bool: whether each product and repeat has a text or a picture after its fields were changed."""
        batch = batch.with_repeats()
        rows = self.table.find(product["id"] for product in batch.products)
        stays = np.ones(len(rows), bool)
        for i, (product, names) in enumerate(zip(batch.products, batch.fields, strict=True)):
            if not names.isdisjoint(SIDES) and product.keys().isdisjoint(SIDES):
                before = zip(SIDES, self.table.present[rows[i]], strict=True)
                stays[i] = any(has and side not in names for side, has in before)
        return stays


def remove_products(table: ProductTable, ids: Iterable[str], on_error: OnError) -> Edit:
    """Remove n products by their ids, see `Catalogue.remove`."""
    rows = np.unique(table.find(known_ids(table.listed_ids(ids), table, on_error)))
    old = table.contents
    changes = Changes.between(rows_of(old, rows), rows_of(old, rows[:0]))
    return Edit(remove_rows(old, rows), replace(changes, unchanged=len(old) - len(rows)))


def embedding_tables(contents: Contents) -> Sequence[EmbeddingTable]:
    """The embeddings of pictures and of texts by their content, which is then not embedded again."""
    keys, matrix = contents.keys, contents.embeddings
    tables = [
        EmbeddingTable(keys[:, 1], matrix[:, : contents.dim]),
        EmbeddingTable(keys[:, 2], matrix[:, contents.dim :]),
    ]
    parts = contents.parts
    return [*tables, EmbeddingTable(parts.keys, parts.embeds)] if len(parts) else tables
