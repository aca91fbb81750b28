"""Embeds products into contents in memory: both sides, a bounded number at a time, nothing that is known already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from clipshelf.catalogue.batch_pictures import BatchPictures
from clipshelf.catalogue.content_keys import KEY_SIZE, id_keys, image_key, stack_keys, text_key
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.messages import OnWarning
from clipshelf.catalogue.outcomes import Problem, find_problem, kept_record
from clipshelf.catalogue.product_sides import texts_of
from clipshelf.catalogue.products import ProductBatch
from clipshelf.catalogue.side_embedding import NO_CACHE, EmbeddingCache, SideEmbedder
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.errors import InputError
from clipshelf.failures import Failure, OnError, check_on_error, handle
from clipshelf.model.engine import Engine
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import Product, Progress, Rows
from clipshelf.workers import Workers

# Products of one step: the journal is written, failures are reported and progress is called after each.
_CHUNK = 128

LeftOut: TypeAlias = tuple[Mapping[int, str], Mapping[int, str]]


@dataclass(frozen=True)
class EmbeddedBatch:
    """The products of a batch that could be embedded.

    - `contents`: these n products.
    - `rows`: (n,) int64 indices of them in the batch with its repeats.
    - `without_picture`: the indices of those whose pictures could not be read and were left out.
    - `left_out`: by index, which pictures and which texts of a product could not be embedded, and why, by position.
    """

    contents: MemoryContents
    rows: Rows
    without_picture: Set[int] = frozenset()
    left_out: Mapping[int, LeftOut] = field(default_factory=dict)


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

    - `batch`: n products, as `read_products` returns them. A repeat is embedded where the products of its id before it
      cannot be used, and reported as a failure otherwise.
    - `root`: the folder that relative picture paths of the new records start from.
    - `cache`: known embeddings; new ones go to its journal.
    - `on_error`: the error policy for a product whose picture or text cannot be embedded, see `clipshelf.failures`. Of
      several pictures or texts, one that cannot be embedded is reported as a failure of that part, such as "image 2",
      and the others stay.
    - `keep_text`: whether a product with a text stays without its pictures if none can be read. These are
      reported as a failure of the part "image", and pictures are never raised; with `on_error="raise"` a warning
      counts them.
    - `partial`: whether the products have only what changes in older ones; these stay without any of it too.
    - `on_warning`: called if pictures were found under other spellings of their paths, lie outside `root`, or were
      left out without a report.
    - `progress`: called with the number of products done and n.

    Raises InputError naming the product, with `on_error="raise"`; the journal then has what was embedded before.
    """
    check_on_error(on_error)
    embedder = _BatchEmbedder(engine, batch, root, cache, keep_text=keep_text, partial=partial)
    for start in range(0, len(batch.products), _CHUNK):
        chunk = range(start, min(start + _CHUNK, len(batch.products)))
        embedder.embed(chunk)
        for row in chunk:
            embedder.report(row, on_error)
        if progress is not None:
            progress(chunk.stop, len(batch.products))
    embedder.try_repeats(on_error)
    if on_warning is not None:
        for warning in embedder.warnings(unreported=on_error == "raise"):
            on_warning(warning)
    return embedder.result()


class _BatchEmbedder:
    """The embedding of one batch, a part at a time; the parameters are those of `embed_products`."""

    def __init__(
        self,
        engine: Engine,
        batch: ProductBatch,
        root: Path,
        cache: EmbeddingCache,
        *,
        keep_text: bool,
        partial: bool,
    ) -> None:
        self._firsts, self._repeats = len(batch.products), batch.repeats
        self._batch = batch = batch.with_repeats()
        self._keep_text, self._partial = keep_text, partial
        products, dim = batch.products, engine.dim
        self._matrix = np.zeros((len(products), 2 * dim), np.float32)
        self._keys = np.zeros((len(products), 3, KEY_SIZE), np.uint8)
        self._keys[:, 0] = id_keys(product["id"] for product in products)
        falloff = batch.falloff
        self._images = SideEmbedder(engine.embed_images, self._matrix[:, :dim], self._keys[:, 1], cache, falloff)
        self._texts = SideEmbedder(engine.embed_texts, self._matrix[:, dim:], self._keys[:, 2], cache, falloff)
        self._prepare = engine.prepare_text
        self._readers = Workers(available_cpus())
        self._pictures = BatchPictures(batch.root, root)
        self._records: dict[int, Product] = {}
        self._problems: dict[int, Problem] = {}
        self._left_out: dict[int, LeftOut] = {}

    def embed(self, rows: Sequence[int]) -> None:
        """Embed the products of some rows."""
        products = {row: self._batch.products[row] for row in rows}
        found = {row: self._pictures.find(product) for row, product in products.items()}
        pictures = {row: each.sources for row, each in found.items() if each.sources}
        picture_keys = stack_keys(self._readers.map_ahead(image_key, _flat(pictures), depth=_CHUNK))
        for row, reasons in self._images.fill(pictures, picture_keys).items():
            found[row].unread |= {found[row].tried[i]: reason for i, reason in reasons.items()}
        texts = {row: list(map(self._prepare, texts_of(product))) for row, product in products.items()}
        texts = {row: listed for row, listed in texts.items() if listed}
        unusable = self._texts.fill(texts, stack_keys(map(text_key, _flat(texts))))
        for row, product in products.items():
            stored, unread, bad_texts = found[row].stored, found[row].unread, unusable.get(row, {})
            may_lack_pictures = self._keep_text and ("text" in product or self._partial)
            self._records[row] = kept_record(product, stored, unread, bad_texts)
            problem = find_problem(product, len(stored), unread, bad_texts, may_lack_pictures=may_lack_pictures)
            if problem is not None:
                self._problems[row], self._left_out[row] = problem, (unread, bad_texts)

    def report(self, row: int, on_error: OnError) -> None:
        """Raise, or report, what cannot be used of the product of a row."""
        if row not in self._problems:
            return
        position, id_ = self._batch.positions[row], self._batch.products[row]["id"]
        for part, reason in self._problems[row].failures:
            if on_error != "raise":
                on_error(Failure(position, id_, reason, part))
            elif part is None or not (self._keep_text and part.startswith("image")):
                of_part = "" if part is None else f"{part}: "
                handle("raise", position, id_, InputError(f"product {id_!r}: {of_part}{reason}"))

    def try_repeats(self, on_error: OnError) -> None:
        """Embed the next product of each id that has no product which can be used; report all other repeats."""
        latest = {product["id"]: row for row, product in enumerate(self._batch.products[: self._firsts])}
        waiting: dict[str, list[int]] = {}
        for row, repeat in enumerate(self._repeats, self._firsts):
            waiting.setdefault(repeat.product["id"], []).append(row)
        while rows := [
            waiting[id_].pop(0) for id_ in waiting if waiting[id_] and id_ in latest and self._is_fatal(latest[id_])
        ]:
            for start in range(0, len(rows), _CHUNK):
                self.embed(rows[start : start + _CHUNK])
            for row in rows:
                self.report(row, on_error)
                latest[self._batch.products[row]["id"]] = row
        for row in sorted(row for rows in waiting.values() for row in rows):
            repeat = self._repeats[row - self._firsts]
            id_ = repeat.product["id"]
            used = latest.get(id_, 0)
            place = self._repeats[used - self._firsts].place if used >= self._firsts else repeat.first_place
            handle(on_error, repeat.position, id_, repeat.error(place))

    def _is_fatal(self, row: int) -> bool:
        return row in self._problems and self._problems[row].is_fatal

    def warnings(self, *, unreported: bool) -> Iterator[str]:
        """What fails nothing, and should be said.

        - `unreported`: whether the pictures that were left out were not reported as failures.
        """
        left_out = [(row, reason) for row, problem in self._problems.items() for _, reason in problem.failures]
        if left_out and unreported:
            row, reason = left_out[0]
            yield (
                f"pictures: expected one that can be read for each product, left out {len(left_out)}; that "
                f"of product {self._batch.products[row]['id']!r}: {reason}"
            )
        yield from self._pictures.warnings()

    def result(self) -> EmbeddedBatch:
        """What was embedded: the good products, and those that stay without a picture."""
        rows = [row for row in sorted(self._records) if not self._is_fatal(row)]
        if self._repeats:
            rows.sort(key=lambda row: self._batch.positions[row])
        matrix, keys = self._matrix, self._keys
        if len(rows) < len(matrix):
            # Only then, for the matrix may take a large part of the memory.
            matrix, keys = matrix[rows], keys[rows]
        records = [self._records[row] for row in rows]
        parts = self._parts(rows)
        contents = MemoryContents(records, matrix, keys, self._batch.declarations, self._batch.words, parts)
        without_picture = {row for row, problem in self._problems.items() if problem.without_picture}
        return EmbeddedBatch(contents, np.array(rows, np.int64), without_picture, self._left_out)

    def _parts(self, rows: Sequence[int]) -> SideParts:
        """The parts of the products of some rows, whose rows are their positions in `rows` then."""
        sides = (self._images.pooled, self._texts.pooled)
        if not any(sides):
            return SideParts(self._batch.falloff)
        pooled = {(i, side): sides[side][row] for i, row in enumerate(rows) for side in (0, 1) if row in sides[side]}
        return SideParts.of(self._batch.falloff, pooled)


def _flat(items: Mapping[int, Sequence[Any]]) -> Iterable[Any]:
    return (item for listed in items.values() for item in listed)
