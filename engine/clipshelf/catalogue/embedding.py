"""Embeds products into contents in memory: both sides, a bounded number at a time, nothing that is known already."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import KEY_SIZE, NO_KEY, Keys, id_keys, image_key, stack_keys, text_key
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.disk.journal import EmbeddingTable, Journal
from clipshelf.catalogue.products import ProductBatch, stored_record
from clipshelf.errors import InputError
from clipshelf.failures import Failure, OnError, check_on_error
from clipshelf.model.engine import Engine
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, Progress, Rows
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
    """

    contents: MemoryContents
    rows: Rows


def embed_products(
    engine: Engine,
    batch: ProductBatch,
    *,
    root: Path,
    cache: EmbeddingCache = NO_CACHE,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> EmbeddedBatch:
    """Embed a batch of products, except what `cache` knows.

    - `batch`: n products, as `read_products` returns them.
    - `root`: the folder that relative picture paths of the new records start from.
    - `cache`: known embeddings; new ones go to its journal.
    - `on_error`: the error policy for a product whose picture or text cannot be embedded, see `clipshelf.failures`.
    - `progress`: called with the number of products done and n.

    Raises InputError naming the product, with `on_error="raise"`; the journal then has what was embedded before.
    """
    check_on_error(on_error)
    products = batch.products
    matrix = np.zeros((len(products), 2 * engine.dim), np.float32)
    keys = np.zeros((len(products), 3, KEY_SIZE), np.uint8)
    keys[:, 0] = id_keys(product["id"] for product in products)
    reasons: dict[int, str] = {}
    images = _Side(engine.embed_images, matrix[:, : engine.dim], keys[:, 1], cache)
    texts = _Side(engine.embed_texts, matrix[:, engine.dim :], keys[:, 2], cache)
    readers = Workers(available_cpus())
    for start in range(0, len(products), _CHUNK):
        chunk = range(start, min(start + _CHUNK, len(products)))
        with_image = [row for row in chunk if "image" in products[row]]
        pictures = [locate_image(products[row]["image"], batch.root) for row in with_image]
        picture_keys = stack_keys(readers.map_ahead(image_key, pictures, depth=_CHUNK))
        reasons |= images.fill(with_image, pictures, picture_keys)
        with_text = [row for row in chunk if "text" in products[row]]
        sentences = [engine.prepare_text(products[row]["text"]) for row in with_text]
        reasons |= texts.fill(with_text, sentences, stack_keys(map(text_key, sentences)))
        for row in chunk:
            if row in reasons:
                _report(batch, row, reasons[row], on_error)
        if progress is not None:
            progress(chunk.stop, len(products))
    return _without_failures(batch, matrix, keys, reasons, root)


def locate_image(image: Any, root: Path) -> Any:
    """Return where a picture is: a relative path starts from `root`; anything but a path is returned as it is."""
    return root / image if isinstance(image, (str, os.PathLike)) else image


def _report(batch: ProductBatch, row: int, reason: str, on_error: OnError) -> None:
    """Raise, or report, that a product of a batch could not be embedded."""
    id_ = batch.products[row]["id"]
    if on_error == "raise":
        raise InputError(f"product {id_!r}: {reason}")
    on_error(Failure(batch.positions[row], id_, reason))


def _without_failures(
    batch: ProductBatch, matrix: FloatArray, keys: Keys, reasons: dict[int, str], root: Path
) -> EmbeddedBatch:
    """The products of a batch that have no entry in `reasons`, as contents."""
    rows = np.array([row for row in range(len(batch.products)) if row not in reasons], np.int64)
    records = [stored_record(batch.products[row], source_root=batch.root, root=root) for row in rows.tolist()]
    if reasons:
        # Only then, for the matrix may take a large part of the memory.
        matrix, keys = matrix[rows], keys[rows]
    return EmbeddedBatch(MemoryContents(records, matrix, keys), rows)


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
        self._embeds[rows], self._keys[rows] = embeds, keys
        for row, first in zip(rows, first_rows, strict=True):
            self._embeds[row] = self._embeds[first]
        if self._cache.journal is not None:
            good = [i for i in new if rows[i] not in self._reasons and bytes(keys[i]) != NO_KEY]
            self._cache.journal.append(keys[good], embeds[good])
        reasons = self._reasons
        return {row: reasons[first] for row, first in zip(rows, first_rows, strict=True) if first in reasons}
