"""The catalogue: products and their embeddings, computed once and stored as one matrix.

`disk.generation` has the files of a catalogue, `contents` what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.contents import Contents, append_products, remove_rows, replace_rows
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.journal import EmbeddingTable
from clipshelf.catalogue.disk.save import Origin, save_generation
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.embedding import NO_CACHE, EmbeddingCache, embed_products
from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.product_table import ProductTable
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.errors import CatalogueError, FingerprintMismatch, InputError
from clipshelf.failures import OnError
from clipshelf.files import locked
from clipshelf.model.engine import Engine
from clipshelf.types import PathLike, Product, Progress


class Catalogue(ProductTable):
    """N products and their embeddings: made by `build`, opened by `load`, changed by `add`, `update` and `remove`.

    - `contents`: the products, in memory or on disk.
    - `fingerprint`: of the model that embedded them.
    - `root`: the folder that relative picture paths start from.
    - `model`: path of that model's artifact, None for the embedded default.
    - `origin`: the saved generation that the contents come from, None for contents that were never saved.

    A catalogue does not change: `add`, `update` and `remove` return another one, which `save` writes.

    It can be copied and pickled. A loaded one is pickled as its folder and generation, and is opened again where it is
    unpickled; that raises CatalogueError if the folder has another generation by then. Any other one is pickled whole.
    """

    def __init__(
        self,
        contents: Contents,
        fingerprint: str,
        root: Path,
        model: str | None = None,
        *,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(contents)
        self.fingerprint = fingerprint
        self.root = root
        self.model = model
        self._origin = origin

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # The pickled origin has lost its generation; a loaded catalogue has it as its contents.
        if isinstance(self._contents, Generation) and self._origin == Origin.of(self._contents):
            self._origin = Origin.of(self._contents)

    @property
    def embedding_cache(self) -> EmbeddingCache:
        """The embeddings by their content, which is then not embedded again."""
        keys = self._contents.keys
        tables = EmbeddingTable(keys[:, 1], self.image_embeds), EmbeddingTable(keys[:, 2], self.text_embeds)
        return EmbeddingCache(tables)

    def picture(self, product: Product) -> Path | None:
        """Return the path of a product's picture, None where it has none on disk."""
        image = product.get("image")
        return self.root / image if image else None

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
        fields: ProductFields = DEFAULT_FIELDS,
        on_error: OnError = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """Embed products.

        - `engine`: the model.
        - `products`: dicts with a `text`, an `image` or both, a table of pandas, polars or pyarrow, or a file that ends
          in .csv, .jsonl, .ndjson or .parquet. The `id` is optional, else it is the position; every other field is
          stored with the product. Relative picture paths start from the file's folder, else from the current one.
        - `fields`: the columns of id, text and image.
        - `on_error`: the error policy for a product that cannot be used, see `clipshelf.failures`.
        - `progress`: called with the number of products done and of all, as products are embedded.

        Raises InputError naming the product, and, whatever `on_error` says, for an id that occurs twice.
        """
        batch = read_products(products, fields=fields, on_error=on_error)
        return cls.embed(engine, batch, on_error=on_error, progress=progress)

    @classmethod
    def embed(
        cls,
        engine: Engine,
        batch: ProductBatch,
        *,
        cache: EmbeddingCache = NO_CACHE,
        on_error: OnError = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """Embed products that were read already, except what `cache` knows; otherwise as `build`."""
        embedded = embed_products(engine, batch, root=batch.root, cache=cache, on_error=on_error, progress=progress)
        model = None if engine.is_default else str(engine.artifact.path.resolve())
        return cls(embedded.contents, engine.fingerprint, batch.root, model)

    def add(
        self,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: ProductFields = DEFAULT_FIELDS,
        on_error: OnError = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """Return this catalogue followed by new products; the parameters are those of `build`.

        Raises FingerprintMismatch for an engine with another model, and InputError for a product without an id, or
        with an id that is in the catalogue.
        """
        self.require(engine)
        batch = read_products(products, fields=fields, on_error=on_error, ids_required=True)
        known = self.find(product["id"] for product in batch.products) >= 0
        if known.any():
            repeated = shorten_list(repr(batch.products[i]["id"]) for i in np.flatnonzero(known))
            raise InputError(f"id: expected ids that the catalogue doesn't have yet, found {repeated}")
        new = embed_products(
            engine, batch, root=self.root, cache=self.embedding_cache, on_error=on_error, progress=progress
        )
        return self._with(append_products(self._contents, new.contents))

    def update(
        self,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: ProductFields = DEFAULT_FIELDS,
        on_error: OnError = "raise",
        progress: Progress | None = None,
    ) -> Catalogue:
        """Return this catalogue with products replaced by their ids; the parameters are those of `build`.

        Each new product takes the row of the old one; if it cannot be used, the old one stays. A text or picture that
        is known is not embedded again. Raises FingerprintMismatch for an engine with another model,
        and UnknownIdError for an id that is not in the catalogue.
        """
        self.require(engine)
        batch = read_products(products, fields=fields, on_error=on_error, ids_required=True)
        rows = self.rows(product["id"] for product in batch.products)
        new = embed_products(
            engine, batch, root=self.root, cache=self.embedding_cache, on_error=on_error, progress=progress
        )
        return self._with(replace_rows(self._contents, rows[new.rows], new.contents))

    def remove(self, ids: Iterable[str]) -> Catalogue:
        """Return this catalogue without n products; the others keep their order. Raises UnknownIdError."""
        return self._with(remove_rows(self._contents, self.rows(ids)))

    def save(self, path: PathLike) -> None:
        """Write the catalogue to the folder `path` as its next generation, in one step.

        Raises CatalogueError when the folder holds something else or cannot be written, while another writer is at
        work, and when this catalogue came from the folder but another was saved there since. The old state stays then.
        """
        folder = Path(path)
        with locked(folder):
            self.save_locked(folder)

    def save_locked(self, folder: Path) -> None:
        """Write the catalogue to a folder that the caller has locked; otherwise as `save`."""
        save_generation(
            folder,
            self._contents,
            fingerprint=self.fingerprint,
            model=self.model,
            root=self.root,
            origin=self._origin,
        )
        self._origin = Origin.of(Generation.open(folder))

    @classmethod
    def load(cls, path: PathLike, *, verify: bool = False) -> Catalogue:
        """Open a saved catalogue; its matrix and records stay on disk, memory-mapped.

        - `path`: its folder.
        - `verify`: compare every file with its checksum now, instead of large files on first use.

        Raises CatalogueError naming the file, what was expected and what was found.
        """
        folder = Path(path)
        if verify and (problems := find_problems(folder)):
            raise CatalogueError("; ".join(problems))
        generation = Generation.open(folder)
        manifest = generation.manifest
        origin = Origin.of(generation)
        return cls(generation, manifest.fingerprint, Path(manifest.root), manifest.model, origin=origin)

    def _with(self, contents: Contents) -> Catalogue:
        """This catalogue with other contents."""
        return Catalogue(contents, self.fingerprint, self.root, self.model, origin=self._origin)
