"""Embeds products into contents in memory: both sides, a bounded number at a time, nothing that is known already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import KEY_SIZE, NO_KEY, Keys, id_keys, image_key, stack_keys, text_key
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.disk.journal import EmbeddingTable, Journal
from clipshelf.catalogue.messages import OnWarning
from clipshelf.catalogue.picture_paths import PictureFinder, leaves_root, stored_record
from clipshelf.catalogue.products import ProductBatch
from clipshelf.errors import ImageError, InputError
from clipshelf.failures import Failure, OnError, check_on_error, handle
from clipshelf.model.engine import Engine
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, Product, Progress, Rows
from clipshelf.workers import Workers

# Products of one step: the journal is written, failures are reported and progress is called after each.
_CHUNK = 128


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings that need not be computed again.

    - `tables`: known embeddings, of pictures and of texts, which have different keys.
    - `journal`: a file that new embeddings are appended to as they are computed, None for no file.
    """

    tables: Sequence[EmbeddingTable] = ()
    journal: Journal | None = None


NO_CACHE = EmbeddingCache()


@dataclass(frozen=True)
class EmbeddedBatch:
    """The products of a batch that could be embedded.

    - `contents`: these n products.
    - `rows`: (n,) int64 indices of them in the batch.
    - `without_picture`: the indices in the batch of those whose picture could not be read and was left out.
    """

    contents: MemoryContents
    rows: Rows
    without_picture: Set[int] = frozenset()


def embed_products(
    engine: Engine,
    batch: ProductBatch,
    *,
    root: Path,
    cache: EmbeddingCache = NO_CACHE,
    on_error: OnError = "raise",
    keep_text: bool = False,
    partial: bool = False,
    on_warning: OnWarning | None = None,
    progress: Progress | None = None,
) -> EmbeddedBatch:
    """Embed a batch of products, except what `cache` knows.

    - `batch`: n products, as `read_products` returns them.
    - `root`: the folder that relative picture paths of the new records start from.
    - `cache`: known embeddings; new ones go to its journal.
    - `on_error`: the error policy for a product whose picture or text cannot be embedded, see `clipshelf.failures`.
    - `keep_text`: whether a product with a text stays without its picture if that cannot be read. The picture is
      reported as a failure of that part, and never raised; with `on_error="raise"` a warning counts them.
    - `partial`: whether the products have only what changes in older ones; these stay without any of it too.
    - `on_warning`: called if pictures were found under other spellings of their paths, lie outside `root`, or were
      left out without a report.
    - `progress`: called with the number of products done and n.

    Raises InputError naming the product, with `on_error="raise"`; the journal then has what was embedded before.
    """
    check_on_error(on_error)
    embedder = _BatchEmbedder(engine, batch, root, cache)
    for start in range(0, len(batch.products), _CHUNK):
        chunk = range(start, min(start + _CHUNK, len(batch.products)))
        embedder.embed(chunk)
        if keep_text:
            embedder.keep_texts(chunk, without_text=partial)
        for row in chunk:
            if row in embedder.reasons:
                _report(batch, row, embedder.reasons[row], on_error, keep=row in embedder.without_picture)
        if progress is not None:
            progress(chunk.stop, len(batch.products))
    if on_warning is not None:
        for warning in embedder.warnings(unreported=on_error == "raise"):
            on_warning(warning)
    return embedder.result()


class _BatchEmbedder:
    """The embedding of one batch, a part at a time; the parameters are those of `embed_products`.

    `reasons` has, by row of the batch, why a side could not be embedded; `without_picture` has the rows of these that
    stay without their picture.
    """

    def __init__(self, engine: Engine, batch: ProductBatch, root: Path, cache: EmbeddingCache) -> None:
        self._batch, self._root = batch, root
        products, dim = batch.products, engine.dim
        self._matrix = np.zeros((len(products), 2 * dim), np.float32)
        self._keys = np.zeros((len(products), 3, KEY_SIZE), np.uint8)
        self._keys[:, 0] = id_keys(product["id"] for product in products)
        self._images = _Side(engine.embed_images, self._matrix[:, :dim], self._keys[:, 1], cache)
        self._texts = _Side(engine.embed_texts, self._matrix[:, dim:], self._keys[:, 2], cache)
        self._prepare = engine.prepare_text
        self._readers = Workers(available_cpus())
        self._records: dict[int, Product] = {}
        self._unread: dict[int, str] = {}
        self._unusable: set[int] = set()
        self._outside = 0
        self.finder = PictureFinder(batch.root)
        self.reasons: dict[int, str] = {}
        self.without_picture: set[int] = set()

    def embed(self, chunk: range) -> None:
        """Embed the products of these rows."""
        products = self._batch.products
        for row in chunk:
            try:
                self._records[row] = stored_record(products[row], source_root=self._batch.root, root=self._root)
            except ImageError as error:
                self._unread[row] = str(error)
            else:
                self._outside += leaves_root(self._records[row].get("image", ""), self._root)
        with_image = [row for row in chunk if "image" in products[row] and row not in self._unread]
        pictures = [self.finder.locate(products[row]["image"]) for row in with_image]
        picture_keys = stack_keys(self._readers.map_ahead(image_key, pictures, depth=_CHUNK))
        self._unread |= self._images.fill(with_image, pictures, picture_keys)
        with_text = [row for row in chunk if "text" in products[row]]
        sentences = [self._prepare(products[row]["text"]) for row in with_text]
        unusable = self._texts.fill(with_text, sentences, stack_keys(map(text_key, sentences)))
        self.reasons |= {row: self._unread[row] for row in chunk if row in self._unread} | unusable
        self._unusable |= unusable.keys()

    def keep_texts(self, chunk: range, *, without_text: bool) -> None:
        """Keep the products of these rows whose picture could not be read, if they have a text or need none."""
        for row in chunk:
            product = self._batch.products[row]
            if row in self._unread and row not in self._unusable and ("text" in product or without_text):
                self.without_picture.add(row)
                self._records.setdefault(row, {name: value for name, value in product.items() if name != "image"})

    def warnings(self, *, unreported: bool) -> Iterator[str]:
        """What fails nothing, and should be said.

        - `unreported`: whether the pictures that were left out were not reported as failures.
        """
        if self.without_picture and unreported:
            row = min(self.without_picture)
            yield (
                f"pictures: expected one that can be read for each product, left out {len(self.without_picture)}; that "
                f"of product {self._batch.products[row]['id']!r}: {self.reasons[row]}"
            )
        respelled = self.finder.respelled
        for path, found in list(respelled.items())[:1]:
            more = f", and {len(respelled) - 1} more like it" if len(respelled) > 1 else ""
            yield f"pictures: expected the file {path}, found none, and took {found}{more}"
        if self._outside:
            yield (
                f"pictures: expected all below {self._root}, found {self._outside} elsewhere: a page shows these only "
                "with --allow-outside"
            )

    def result(self) -> EmbeddedBatch:
        """What was embedded: the products without a reason against them, and those that stay without a picture."""
        failed = self.reasons.keys() - self.without_picture
        rows = np.array([row for row in range(len(self._batch.products)) if row not in failed], np.int64)
        matrix, keys = self._matrix, self._keys
        if failed:
            # Only then, for the matrix may take a large part of the memory.
            matrix, keys = matrix[rows], keys[rows]
        records = [self._records[row] for row in rows.tolist()]
        contents = MemoryContents(records, matrix, keys, self._batch.declarations, self._batch.words)
        return EmbeddedBatch(contents, rows, self.without_picture)


def _report(batch: ProductBatch, row: int, reason: str, on_error: OnError, *, keep: bool) -> None:
    """Raise, or report, that a product of a batch, or its picture alone (`keep`), could not be embedded."""
    id_ = batch.products[row]["id"]
    if on_error != "raise":
        on_error(Failure(batch.positions[row], id_, reason, "image" if keep else None))
    elif not keep:
        handle("raise", batch.positions[row], id_, InputError(f"product {id_!r}: {reason}"))


class _Side:
    """Fills one side, images or texts, of a batch's N products.

    - `embed`: `embed_images` or `embed_texts` of an engine.
    - `embeds`: (N, D) float32 view that it fills.
    - `keys`: (N, 16) uint8 view that it fills.
    - `cache`: what is known already.
    """

    def __init__(self, embed: Callable[..., FloatArray], embeds: FloatArray, keys: Keys, cache: EmbeddingCache) -> None:
        self._embed = embed
        self._embeds = embeds
        self._keys = keys
        self._cache = cache
        self._first_row: dict[bytes, int] = {}
        self._reasons: dict[int, str] = {}

    def fill(self, rows: Sequence[int], sources: Sequence[Any], keys: Keys) -> dict[int, str]:
        """Embed n sources, except what is known and what an earlier row has too.

        - `rows`: n rows.
        - `sources`: their pictures or texts.
        - `keys`: (n, 16) uint8 keys of these.

        Returns, by row, why a source could not be embedded; its embedding is zeros.
        """
        if not rows:
            return {}
        embeds = np.zeros((len(rows), self._embeds.shape[1]), np.float32)
        known = np.zeros(len(rows), bool)
        for table in self._cache.tables:
            known |= table.fill(keys, embeds)
        first_rows = [
            row if key == NO_KEY else self._first_row.setdefault(key, row)
            for row, key in zip(rows, map(bytes, keys), strict=True)
        ]
        new = [i for i, row in enumerate(rows) if first_rows[i] == row and not known[i]]
        failures: list[Failure] = []
        embeds[new] = self._embed([sources[i] for i in new], on_error=failures.append)
        self._reasons |= {rows[new[failure.index]]: failure.reason for failure in failures}
        # What could not be embedded must not be found by its key later on.
        known_keys = np.where([[first in self._reasons] for first in first_rows], np.uint8(0), keys)
        self._embeds[rows], self._keys[rows] = embeds, known_keys
        for row, first in zip(rows, first_rows, strict=True):
            self._embeds[row] = self._embeds[first]
        if self._cache.journal is not None:
            good = [i for i in new if rows[i] not in self._reasons and bytes(keys[i]) != NO_KEY]
            self._cache.journal.append(keys[good], embeds[good])
        reasons = self._reasons
        return {row: reasons[first] for row, first in zip(rows, first_rows, strict=True) if first in reasons}
