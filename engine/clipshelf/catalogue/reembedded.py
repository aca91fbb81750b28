"""Embeds the products of a catalogue with another model; records, columns and words stay as they are.

The matrix goes to a file as it is computed, so that memory does not grow with it. The parts of products with several
pictures or texts stay in memory until they are saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.changes import Losses
from clipshelf.catalogue.content_keys import Keys, KnownPicture
from clipshelf.catalogue.contents import Contents, MemoryContents
from clipshelf.catalogue.disk.journal import EmbeddingTable
from clipshelf.catalogue.edits import embedding_tables
from clipshelf.catalogue.embedding import EmbeddedBatch, LeftOut, embed_products
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.outcomes import Problem, find_problem, kept_record
from clipshelf.catalogue.picture_paths import is_file
from clipshelf.catalogue.product_sides import pictures_of
from clipshelf.catalogue.products import ProductBatch
from clipshelf.catalogue.side_embedding import EmbeddingCache
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import IMAGE, Statistics
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.catalogue.typed_columns.kinds import Declaration, Kind
from clipshelf.errors import ImageError, InputError
from clipshelf.failures import OnError
from clipshelf.model.engine import Engine
from clipshelf.types import FloatArray, Product, Progress, Rows

# Products that are read and embedded at a time.
_CHUNK = 4096


@dataclass(frozen=True)
class ReembeddedContents:
    """`Contents` with the products of others, and embeddings of another model.

    - `base`: the others.
    - `embeddings`: (N, 2D) float32, image rows | text rows.
    - `keys`: (N, 3, 16) uint8 keys of id, picture and text.
    - `parts`: the pictures and texts of products that have several, embedded by this model.
    """

    base: Contents
    embeddings: FloatArray
    keys: Keys
    parts: SideParts

    def __len__(self) -> int:
        return len(self.base)

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return int(self.embeddings.shape[1]) // 2

    @property
    def ids(self) -> list[str]:
        """N ids."""
        return self.base.ids

    @property
    def products(self) -> Sequence[Product]:
        """N records."""
        return self.base.products

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Return the records of n rows, in the order of `rows`; raises InputError for a row that is not there."""
        return self.base.records(rows)

    @cached_property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        return Statistics.of(self.embeddings)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each column by name."""
        return self.base.kinds

    @property
    def declarations(self) -> Mapping[str, Declaration]:
        """What `columns_of` takes to convert later values of each column alike."""
        return self.base.declarations

    def column(self, name: str) -> Column:
        """Return the column `name`, which is not of the kind mixed."""
        return self.base.column(name)

    @property
    def word_columns(self) -> Sequence[str]:
        """The fields whose words are indexed."""
        return self.base.word_columns

    @property
    def words(self) -> WordIndex | None:
        """The index of these words, None without such fields."""
        return self.base.words


@dataclass(frozen=True)
class Reembedder:
    """Embeds a catalogue's products again.

    - `engine`: the other model.
    - `cache`: what is known from this model, and the journal for what is new.
    - `on_error`, `keep_text`, `progress`: as `Catalogue.build` takes them.
    """

    engine: Engine
    cache: EmbeddingCache
    on_error: OnError = "raise"
    keep_text: bool = False
    progress: Progress | None = None

    def losses(self, catalogue: Catalogue) -> Losses:
        """Count the products that are lost because their pictures are gone, and the lost pictures of others.

        Raises InputError naming the first of them where that is an error.
        """
        problems = [problem for rows in _chunks(len(catalogue)) for problem in self._problems(catalogue, rows)]
        wrong = [(id_, problem) for id_, problem, _ in problems if problem.is_fatal or not self.keep_text]
        if wrong and self.on_error == "raise":
            id_, problem = wrong[0]
            part, reason = problem.failures[0]
            more = f"; {len(wrong) - 1} more products lack something" if len(wrong) > 1 else ""
            raise InputError(
                f"product {id_!r}: {part + ': ' if part else ''}{reason}{more}; "
                "--on-error skip or keep-text goes on without them"
            )
        pictures = [count for _, problem, count in problems if not problem.is_fatal]
        return Losses(products=len(problems) - len(pictures), pictures=sum(pictures))

    def embed(self, catalogue: Catalogue, matrix_file: Path) -> Contents:
        """Embed the products of a catalogue.

        - `matrix_file`: where the matrix is written; it must stay as long as the contents are used.

        Returns contents with all products, and the very records, columns and words of the catalogue; or without the
        products, pictures and texts that failed. Raises InputError naming the product, as `on_error` says.
        """
        contents, count = catalogue.contents, len(catalogue)
        shape = (count, 2 * self.engine.dim)
        matrix: FloatArray = np.memmap(matrix_file, np.float32, "w+", shape=shape) if count else np.empty(shape, "f4")
        keys, rows = np.array(contents.keys), np.zeros(count, np.int64)
        left_out: dict[int, LeftOut] = {}
        parts, counts = [SideParts(contents.parts.falloff)], [0]
        tables, filled = list(self.cache.tables), 0
        for chunk in _chunks(count):
            embedded = self._embed_rows(catalogue, chunk, tables)
            new = slice(filled, filled + len(embedded.rows))
            matrix[new], keys[new] = embedded.contents.embeddings, embedded.contents.keys
            rows[new] = chunk[embedded.rows]
            left_out |= {int(chunk[i]): positions for i, positions in embedded.left_out.items()}
            parts.append(embedded.contents.parts)
            counts.append(len(embedded.rows))
            # What occurs again in later products is not embedded again.
            tables += embedding_tables(replace(embedded.contents, embeddings=matrix[new], keys=keys[new]))
            filled = new.stop
        joined = SideParts.joined(parts, counts)
        if filled == count and not left_out:
            return ReembeddedContents(contents, matrix, keys, joined)
        records = [_remaining(record, left_out.get(row)) for row, record in _records(contents, rows[:filled])]
        return MemoryContents(
            records, matrix[:filled], keys[:filled], contents.declarations, contents.word_columns, joined
        )

    def _embed_rows(self, catalogue: Catalogue, rows: Rows, tables: Sequence[EmbeddingTable]) -> EmbeddedBatch:
        """Embed the products of some rows; the result counts from the first of them."""
        falloff = catalogue.contents.parts.falloff
        products = self._products(catalogue, rows, tables)
        return embed_products(
            self.engine,
            ProductBatch(catalogue.root, products, rows.tolist(), falloff=falloff),
            root=catalogue.root,
            cache=EmbeddingCache(tables, self.cache.journal),
            on_error=self.on_error,
            keep_text=self.keep_text,
            progress=self._progress_from(int(rows[0]), len(catalogue)),
        )

    def _products(self, catalogue: Catalogue, rows: Rows, tables: Sequence[EmbeddingTable]) -> list[Product]:
        """Ids, texts and pictures of products; a picture that is gone is the ImageError that says so.

        A product has the pictures that were embedded before. One that could not be embedded then is not tried again.
        """
        contents, products = catalogue.contents, []
        positions = contents.parts.find(rows, IMAGE).tolist()
        for position, (row, record) in zip(positions, _records(contents, rows), strict=True):
            product: Product = {name: record[name] for name in ("id", "text") if name in record}
            if catalogue.present[row, IMAGE]:
                span = None if position < 0 else contents.parts.span(position)
                keys = contents.keys[row, 1 + IMAGE][None] if span is None else contents.parts.keys[span]
                product["image"] = [self._picture(catalogue, record, i, keys, tables) for i in range(len(keys))]
            products.append(product)
        return products

    def _picture(
        self, catalogue: Catalogue, record: Product, index: int, keys: Keys, tables: Sequence[EmbeddingTable]
    ) -> str | KnownPicture | ImageError:
        """A picture of a product: its file, else its key where this model has embedded it, else why it is missing."""
        try:
            path = catalogue.picture(record, index)
        except ImageError as error:
            missing = error
        else:
            if path is not None and is_file(path):
                return str(path)
            missing = ImageError(
                "expected the image that was indexed, to embed it again; the catalogue does not have it"
                if path is None
                else f"expected the file {path}, found none"
            )
        key, embed = np.array(keys[index])[None], np.empty((1, self.engine.dim), np.float32)
        return KnownPicture(key.tobytes()) if any(table.fill(key, embed)[0] for table in tables) else missing

    def _problems(self, catalogue: Catalogue, rows: Rows) -> Iterator[tuple[str, Problem, int]]:
        """Ids of products whose pictures are not all there, what that means for them, and how many are gone."""
        for product in self._products(catalogue, rows, self.cache.tables):
            pictures = pictures_of(product)
            unread = {i: str(picture) for i, picture in enumerate(pictures) if isinstance(picture, ImageError)}
            may_lack_pictures = self.keep_text and "text" in product
            problem = find_problem(product, len(pictures), unread, {}, may_lack_pictures=may_lack_pictures)
            if problem is not None:
                yield product["id"], problem, len(unread)

    def _progress_from(self, start: int, count: int) -> Progress | None:
        progress = self.progress
        return None if progress is None else lambda done, _: progress(start + done, count)


def _chunks(count: int) -> Iterator[Rows]:
    """The rows of a catalogue, a part at a time."""
    for start in range(0, count, _CHUNK):
        yield np.arange(start, min(start + _CHUNK, count))


def _records(contents: Contents, rows: Rows) -> Iterator[tuple[int, Product]]:
    """Rows and records, read a part at a time."""
    for positions in _chunks(len(rows)):
        part = rows[positions]
        yield from zip(part.tolist(), contents.records(part), strict=True)


def _remaining(record: Product, left_out: LeftOut | None) -> Product:
    """A record without the pictures and texts that were left out; None for none of them."""
    if left_out is None:
        return record
    unread, unusable = left_out
    paths = pictures_of(record)
    record = kept_record(record, paths, unread, unusable)
    is_lost = 0 < len(paths) == len(unread)
    return {name: value for name, value in record.items() if name != "image"} if is_lost else record
