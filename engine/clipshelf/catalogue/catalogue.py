"""Products and their embeddings, computed once and kept as one matrix; `generation` says how they lie on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from clipshelf.catalogue.content_keys import KeyIndex, id_keys
from clipshelf.catalogue.contents import appended, drafted, replaced, without
from clipshelf.catalogue.disk.generation import Content, Generation
from clipshelf.catalogue.disk.journal import Known
from clipshelf.catalogue.disk.save import current, publish
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.embedding import Memory, Progress
from clipshelf.catalogue.filter_parser import parse_where
from clipshelf.catalogue.filters import Filter, Where
from clipshelf.catalogue.products import Batch, Skipped, read_products
from clipshelf.catalogue.readers import Fields, some
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError, FingerprintMismatch, InputError, UnknownIdError
from clipshelf.files import locked
from clipshelf.model.engine import Engine
from clipshelf.types import FloatArray, Mask, PathLike, Product, Rows

_FIELDS, _NOTHING = Fields(), Memory()


class Catalogue:
    """N products with their embeddings: made by `build`, opened by `load`, changed by `add`, `update` and `remove`.

    A catalogue doesn't change: these three return another one, which `save` writes.

    `fingerprint` is that of the model that embedded it, `model` the path of its artifact, None for the embedded
    default. `root` is the folder that relative pictures start from. `skipped` has what the last step left out.
    """

    def __init__(
        self,
        content: Content,
        fingerprint: str,
        root: Path,
        model: str | None = None,
        *,
        skipped: tuple[Skipped, ...] = (),
        base: Generation | None = None,
    ) -> None:
        self.fingerprint = fingerprint
        self.root = root
        self.model = model
        self.skipped = skipped
        self._content = content
        self._base = base

    def __len__(self) -> int:
        return len(self._content)

    @property
    def products(self) -> Sequence[Product]:
        """The products' records, in the order of the rows; of a loaded catalogue parsed when one is asked for."""
        return self._content.products

    @property
    def ids(self) -> list[str]:
        """The products' ids, in the order of the rows."""
        return self._content.ids

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self._content.dim

    @property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, image rows | text rows; of a loaded catalogue memory-mapped.

        Raises CatalogueError when a loaded matrix isn't what was saved, which is found out on first use.
        """
        return self._content.embeddings

    @property
    def image_embeds(self) -> FloatArray:
        """(N, D) view of the image rows."""
        return self.embeddings[:, : self.dim]

    @property
    def text_embeds(self) -> FloatArray:
        """(N, D) view of the text rows."""
        return self.embeddings[:, self.dim :]

    @cached_property
    def present(self) -> Mask:
        """(N, 2) bool: whether each product has an image row, and a text row."""
        return np.stack([_filled(self.image_embeds), _filled(self.text_embeds)], axis=1)

    @property
    def statistics(self) -> Statistics:
        """Means of both sides and spreads of their cosines, as the module `statistics` explains."""
        return self._content.statistics

    @property
    def memory(self) -> Memory:
        """The embeddings by what they are of, so that it isn't embedded again."""
        keys = self._content.keys
        return Memory((Known(keys[:, 1], self.image_embeds), Known(keys[:, 2], self.text_embeds)))

    def records(self, rows: Rows) -> list[Product]:
        """The records of n rows (n,)."""
        return [self.products[row] for row in rows.tolist()]

    def picture(self, product: Product) -> Path | None:
        """Path of a product's picture, None where it has none on disk."""
        image = product.get("image")
        return self.root / image if image else None

    def row(self, id_: str) -> int:
        """Row of the product `id_`; raises UnknownIdError."""
        return int(self.rows([id_])[0])

    def rows(self, ids: Iterable[str]) -> Rows:
        """(n,) int64 rows of n products; raises UnknownIdError naming those that aren't there."""
        if isinstance(ids, str):
            raise InputError(f"ids: expected a sequence of ids, found one str {ids!r}")
        wanted = list(ids)
        rows = self.find(wanted)
        if (rows < 0).any():
            missing = some(repr(wanted[i]) for i in np.flatnonzero(rows < 0))
            raise UnknownIdError(f"id: expected ids of the catalogue's {len(self)} products, found {missing}")
        return rows

    def find(self, ids: Iterable[str]) -> Rows:
        """(n,) int64 rows of n products, -1 for those that aren't there."""
        return self._index.find(id_keys(ids))

    def mask(self, where: Where | str) -> Mask:
        """(N,) bool, true for the products that fulfil `where`: a dict as the module `filters` explains, or words.

        The module `where` explains the words. Raises InputError.
        """
        if isinstance(where, str):
            where = parse_where(where, self._content.kinds)
        return Filter(self._content.kinds, self._content.column, len(self)).mask(where)

    def require(self, engine: Engine) -> None:
        """Raise FingerprintMismatch unless `engine` has the model that embedded this catalogue."""
        if engine.fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"expected the model that embedded the catalogue, fingerprint {self.fingerprint}, "
                f"found one with {engine.fingerprint}; index the products again with this model"
            )

    @classmethod
    def build(
        cls,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: Fields = _FIELDS,
        on_error: str = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """Embed products: dicts with `text`, `image` or both, a table of pandas, polars or pyarrow, or a file.

        A file ends in .csv, .jsonl, .ndjson or .parquet. `fields` names the columns of id, text and image. The id is
        optional (else the position); every other field is kept with the product. Relative pictures start from the
        file's folder, else from the current one. A product that doesn't fit, or whose picture cannot be read, raises
        InputError naming it, or with `on_error="skip"` is left out and listed in `skipped`; ids that come twice always
        raise. `progress(done, total)` is called as products are embedded.
        """
        batch = read_products(products, fields=fields, on_error=on_error)
        return cls.embed(engine, batch, on_error=on_error, progress=progress)

    @classmethod
    def embed(
        cls,
        engine: Engine,
        batch: Batch,
        *,
        memory: Memory = _NOTHING,
        on_error: str = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """Embed products that were read already, all but what `memory` knows. Raises InputError, as `build` does."""
        done = drafted(engine, batch, batch.root, memory, on_error=on_error, progress=progress)
        model = None if engine.is_default else str(engine.artifact.path.resolve())
        return cls(done.draft, engine.fingerprint, batch.root, model, skipped=done.skipped)

    def add(
        self,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: Fields = _FIELDS,
        on_error: str = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """This catalogue and more products behind its own, each with an id that it doesn't have.

        Otherwise as `build`. Raises FingerprintMismatch for another model's engine, InputError for ids that it has.
        """
        batch = self._read(engine, products, fields, on_error)
        known = self.find(product["id"] for product in batch.products) >= 0
        if known.any():
            twice = some(repr(batch.products[i]["id"]) for i in np.flatnonzero(known))
            raise InputError(f"id: expected ids that the catalogue doesn't have yet, found {twice}")
        done = drafted(engine, batch, self.root, self.memory, on_error=on_error, progress=progress)
        return self._changed(appended(self._content, done.draft), done.skipped)

    def update(
        self,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: Fields = _FIELDS,
        on_error: str = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """This catalogue with the records of some products replaced, each in its row; one that is left out stays.

        A text or picture whose content is known isn't embedded again. Otherwise as `build`.
        Raises FingerprintMismatch for another model's engine, UnknownIdError for ids that it doesn't have.
        """
        batch = self._read(engine, products, fields, on_error)
        rows = self.rows(product["id"] for product in batch.products)
        done = drafted(engine, batch, self.root, self.memory, on_error=on_error, progress=progress)
        return self._changed(replaced(self._content, rows[done.positions], done.draft), done.skipped)

    def remove(self, ids: Iterable[str]) -> Catalogue:
        """This catalogue without some products; the others keep their order. Raises UnknownIdError."""
        return self._changed(without(self._content, self.rows(ids)), ())

    def save(self, path: PathLike) -> None:
        """Write the catalogue to the folder `path`, as its next generation, in one step: all of it or nothing.

        Raises CatalogueError when the folder holds something else or cannot be written, while another writer is at
        work, and when this catalogue came from the folder but another was saved there since.
        """
        folder = Path(path)
        with locked(folder):
            self.save_locked(folder)

    def save_locked(self, folder: Path) -> None:
        """`save`, for a caller that is the folder's one writer already."""
        before = current(folder)
        base = self._base if self._base is not None and self._base.folder == folder.resolve() else None
        if base is not None and (before is None or before.generation != base.manifest.generation):
            found = "none" if before is None else before.generation
            raise CatalogueError(
                f"{folder}: expected generation {base.manifest.generation}, which this catalogue came from, "
                f"found {found}: it was saved by somebody else since; load it again"
            )
        publish(folder, self._content, fingerprint=self.fingerprint, model=self.model, root=self.root, base=base)
        self._base = Generation.open(folder)

    @classmethod
    def load(cls, path: PathLike, *, verify: bool = False) -> Catalogue:
        """Open a saved catalogue; its matrix and records stay on disk, memory-mapped, and nothing is read through.

        Large files are compared with their checksums on first use, as the module `generation` explains, or at once
        with `verify`. Raises CatalogueError naming the file, what was expected and what was found.
        """
        folder = Path(path)
        if verify and (problems := find_problems(folder)):
            raise CatalogueError("; ".join(problems))
        generation = Generation.open(folder)
        manifest = generation.manifest
        return cls(generation, manifest.fingerprint, Path(manifest.root), manifest.model, base=generation)

    @cached_property
    def _index(self) -> KeyIndex:
        return KeyIndex(self._content.keys[:, 0])

    def _read(self, engine: Engine, products: PathLike | Iterable[Product], fields: Fields, on_error: str) -> Batch:
        self.require(engine)
        return read_products(products, fields=fields, on_error=on_error, numbered=False)

    def _changed(self, content: Content, skipped: tuple[Skipped, ...]) -> Catalogue:
        return Catalogue(content, self.fingerprint, self.root, self.model, skipped=skipped, base=self._base)


def _filled(rows: FloatArray) -> Mask:
    """(n,) bool, false for rows (n, D) of zeros; a few numbers tell it of nearly all."""
    filled: Mask = np.any(rows[:, :8], axis=1)
    empty = np.flatnonzero(~filled)
    filled[empty] = np.any(rows[empty], axis=1)
    return filled
