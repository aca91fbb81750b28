"""The catalogue: products and their embeddings, computed once and stored as one matrix.

`disk.generation` has the files of a catalogue, `contents` what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.changes import DEFAULT_SHRINK, NO_LOSSES, Changes, Losses, check_allow_shrink
from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.disk.folder import current_manifest
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.locations import find_model, find_root
from clipshelf.catalogue.disk.manifest import Part
from clipshelf.catalogue.disk.save import Origin, require_current, save_generation
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.edits import Edit, Editor, embedding_tables, remove_products
from clipshelf.catalogue.embedding import embed_products
from clipshelf.catalogue.language import language_note
from clipshelf.catalogue.messages import OnWarning
from clipshelf.catalogue.picture_paths import PictureFinder, is_file, is_path, require_below
from clipshelf.catalogue.product_sides import first_file, pictures_of, texts_of
from clipshelf.catalogue.product_table import ProductTable
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_embedding import NO_CACHE, EmbeddingCache
from clipshelf.errors import CatalogueError, FingerprintMismatch
from clipshelf.failures import OnError
from clipshelf.files import locked
from clipshelf.model.artifact import MANIFEST as ARTIFACT_MANIFEST
from clipshelf.model.engine import Engine
from clipshelf.types import PathLike, Product, Progress


class Catalogue(ProductTable):
    """N products and their embeddings: made by `build`, opened by `load`, changed by `add`, `update` and `remove`.

    - `contents`: the products, in memory or on disk.
    - `fingerprint`: of the model that embedded them.
    - `root`: the folder that relative picture paths start from.
    - `model`: path of that model's artifact, None for the embedded default.
    - `origin`: the saved generation that the contents come from, None for contents that were never saved.
    - `losses`: pictures and texts that went since `origin`.
    - `changes`: what changed from the catalogue that this one was made of, None for one that was built or loaded.
    - `former_root`: where `root` was when the catalogue was saved, if both were moved.
    - `allow_outside`: whether pictures may lie outside `root`.
    - `relevance_curve`: what `clipshelf calibrate` fitted to the shop's own queries, None for none.

    All that is public of a catalogue stands here with its parameters in full, so the module is longer than others.

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
        losses: Losses = NO_LOSSES,
        changes: Changes | None = None,
        former_root: Path | None = None,
        allow_outside: bool = True,
        relevance_curve: RelevanceCurve | None = None,
    ) -> None:
        super().__init__(contents)
        self.fingerprint = fingerprint
        self.root = root
        self.model = model
        self.changes = changes
        self.allow_outside = allow_outside
        self.relevance_curve = relevance_curve
        self._origin = origin
        self._losses = losses
        self._former_root = former_root
        self._finder = PictureFinder(root, former_root)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # The pickled origin has lost its generation; a loaded catalogue has it as its contents.
        if isinstance(self._contents, Generation) and self._origin == Origin.of(self._contents):
            self._origin = Origin.of(self._contents)

    @property
    def embedding_cache(self) -> EmbeddingCache:
        """The embeddings by their content, which is then not embedded again."""
        return EmbeddingCache(embedding_tables(self.contents))

    def picture(self, product: Product, index: int | None = None) -> Path | None:
        """Return the path of a product's picture, None where it has none on disk.

        - `product`: a record of the catalogue.
        - `index`: which of several pictures, from 0; None for the first that is a file.

        A path that other systems spell otherwise leads to the file that it means, see `picture_paths`. Raises
        ImageError for a picture outside `root`, unless the catalogue was built here or loaded with `allow_outside`.
        """
        index = first_file(product) if index is None else index
        image = None if index is None else next(iter(pictures_of(product)[index : index + 1]), None)
        if not image or not is_path(image):
            return None
        path = self._finder.find(image)
        if not self.allow_outside:
            require_below(path, self.root)
        return path

    def model_path(self) -> str | None:
        """Return the path of the model that embedded the catalogue, None for the embedded default.

        Raises CatalogueError where no model is there; it says what to give.
        """
        if self.model is not None and not is_file(Path(self.model, ARTIFACT_MANIFEST)):
            raise CatalogueError(
                f"{self.model}: expected the model that embedded the catalogue, fingerprint {self.fingerprint}, found "
                "none there, nor beside the catalogue; give its folder with --artifact, or to Engine.load"
            )
        return self.model

    def require(self, engine: Engine) -> None:
        """Raise FingerprintMismatch unless `engine` has the model that embedded this catalogue."""
        if engine.fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"expected the model that embedded the catalogue, fingerprint {self.fingerprint}, "
                f"found one with {engine.fingerprint}; clipshelf reembed embeds the products with this model"
            )

    @classmethod
    def build(
        cls,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: ProductFields = DEFAULT_FIELDS,
        on_error: OnError = "raise",
        keep_text: bool = False,
        on_warning: OnWarning | None = None,
        progress: Progress | None = None,
    ) -> Catalogue:
        """Embed products.

        - `engine`: the model.
        - `products`: dicts with a `text`, an `image` or both, a table of pandas, polars or pyarrow, or a file that ends
          in .csv, .jsonl, .ndjson or .parquet. The `id` is optional, else it is the position; every other field is
          stored with the product. Relative picture paths start from the file's folder, else from the current one.
        - `fields`: how the columns are read.
        - `on_error`: the error policy for a product that cannot be used, see `clipshelf.failures`.
        - `keep_text`: whether a product with a text stays without its picture if that cannot be read. The picture is
          reported to `on_error` as a Failure of the part "image", and never raised; with `on_error="raise"` a warning
          counts them.
        - `on_warning`: called with each message about what fails nothing.
        - `progress`: called with the number of products done and of all, as products are embedded.

        Raises InputError naming the product; of several products with one id, the first is the one that counts.
        """
        batch = read_products(products, fields=fields, on_error=on_error, on_warning=on_warning)
        return cls.embed(
            engine, batch, on_error=on_error, keep_text=keep_text, on_warning=on_warning, progress=progress
        )

    @classmethod
    def embed(
        cls,
        engine: Engine,
        batch: ProductBatch,
        *,
        cache: EmbeddingCache = NO_CACHE,
        on_error: OnError = "raise",
        keep_text: bool = False,
        on_warning: OnWarning | None = None,
        progress: Progress | None = None,
    ) -> Catalogue:
        """Embed products that were read already, except what `cache` knows; otherwise as `build`."""
        if on_warning is not None:
            texts = [text for product in batch.products for text in texts_of(product)]
            if note := language_note(engine, texts):
                on_warning(note)
        embedded = embed_products(
            engine,
            batch,
            root=batch.root,
            cache=cache,
            on_error=on_error,
            keep_text=keep_text,
            on_warning=on_warning,
            progress=progress,
        )
        model = None if engine.is_default else str(engine.artifact.path.resolve())
        return cls(embedded.contents, engine.fingerprint, batch.root, model)

    def add(
        self,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: ProductFields = DEFAULT_FIELDS,
        on_error: OnError = "raise",
        keep_text: bool = False,
        on_warning: OnWarning | None = None,
        progress: Progress | None = None,
    ) -> Catalogue:
        """Return this catalogue followed by new products; the parameters are those of `build`.

        Raises FingerprintMismatch for an engine with another model, and, as `on_error` says, InputError for a product
        without an id, or with an id that is in the catalogue.
        """
        self.require(engine)
        editor = Editor(self, self.root, engine, fields, on_error, keep_text, on_warning, progress)
        return self.edited(editor.add(products))

    def update(
        self,
        engine: Engine,
        products: PathLike | Iterable[Product],
        *,
        fields: ProductFields = DEFAULT_FIELDS,
        on_error: OnError = "raise",
        keep_text: bool = False,
        on_warning: OnWarning | None = None,
        progress: Progress | None = None,
    ) -> Catalogue:
        """Return this catalogue with fields of products changed, by their ids; the parameters are those of `build`.

        A field that the source has for a product changes, to nothing where it has no value; every other one stays. So
        prices alone are an update. A product that cannot be used stays as it is, and with `keep_text` a picture that
        cannot be read leaves the old one. A text or picture that is known is not embedded again.

        Raises FingerprintMismatch for an engine with another model, and, as `on_error` says, UnknownIdError for an id
        that is not in the catalogue, and InputError for a product that would have neither text nor picture.
        """
        self.require(engine)
        editor = Editor(self, self.root, engine, fields, on_error, keep_text, on_warning, progress)
        return self.edited(editor.update(products))

    def remove(self, ids: Iterable[str], *, on_error: OnError = "raise") -> Catalogue:
        """Return this catalogue without n products; the others keep their order.

        - `ids`: n ids.
        - `on_error`: the error policy for an id that the catalogue does not have, see `clipshelf.failures`.

        Raises UnknownIdError.
        """
        return self.edited(remove_products(self, ids, on_error))

    def compared_with(self, old: Catalogue | None) -> Catalogue:
        """Return this catalogue with `changes` from `old`, None for none."""
        return self.edited(Edit(self.contents, Changes.between(None if old is None else old.contents, self.contents)))

    def with_relevance_curve(self, curve: RelevanceCurve | None) -> Catalogue:
        """Return this catalogue with another relevance curve, None for none."""
        return self._with(self._contents, self._losses, self.changes, curve)

    def check_shrink(self, ids: Iterable[str], allow_shrink: float, folder: Path) -> None:
        """Raise CatalogueError if more than the share `allow_shrink` of the products is not among n ids."""
        remain = np.unique(self.find(ids))
        Losses(products=len(self) - int((remain >= 0).sum())).check([self._contents], allow_shrink, folder)

    def save(self, path: PathLike, *, allow_shrink: float = DEFAULT_SHRINK, timeout: float = 0.0) -> None:
        """Write the catalogue to the folder `path` as its next generation, in one step.

        - `path`: the folder; it is made if there is none.
        - `allow_shrink`: the share, 0 to 1, of the products, of the pictures and of the texts of the folder's
          catalogue that may be gone afterwards without having been named by `remove`.
        - `timeout`: seconds to wait for another writer.

        Raises CatalogueError when more than that would go, when the folder holds something else or cannot be written,
        while another writer is at work, and when this catalogue came from the folder but another was saved there
        since. The old state stays then.
        """
        check_allow_shrink(allow_shrink)
        folder = Path(path)
        with locked(folder, timeout=timeout):
            self.save_locked(folder, allow_shrink=allow_shrink)

    def save_locked(self, folder: Path, *, allow_shrink: float = DEFAULT_SHRINK) -> None:
        """Write the catalogue to a folder that the caller has locked; otherwise as `save`."""
        if allow_shrink < 1:
            self._check_losses(folder, allow_shrink)
        generation = save_generation(
            folder,
            self._contents,
            fingerprint=self.fingerprint,
            model=self.model,
            root=self.root,
            origin=self._origin,
            relevance_curve=self.relevance_curve,
        )
        self._origin, self._losses = Origin.of(generation), NO_LOSSES

    @classmethod
    def load(
        cls,
        path: PathLike,
        *,
        verify: bool = False,
        root: PathLike | None = None,
        allow_outside: bool = False,
        part: Part = "current",
    ) -> Catalogue:
        """Open a saved catalogue; its matrix and records stay on disk, memory-mapped.

        - `path`: its folder.
        - `verify`: compare every file with its checksum now, instead of large files on first use.
        - `root`: the folder that relative picture paths start from, None for that of the catalogue, which is found
          beside it where both were moved.
        - `allow_outside`: whether `picture` may return paths outside that folder. Leave it for the catalogue of a
          stranger, and give `root` too: docs/catalogue-folder.md says what is trusted.
        - `part`: the generation: the current one, or "prepared" or "previous" for those that a change of the model has
          beside it (docs/change-of-model.md).

        Raises CatalogueError naming the file, what was expected and what was found.
        """
        folder = Path(path)
        if verify and (problems := find_problems(folder)):
            raise CatalogueError("; ".join(problems))
        generation = Generation.open(folder, part)
        manifest = generation.manifest
        return cls(
            generation,
            manifest.fingerprint,
            find_root(generation) if root is None else Path(root).absolute(),
            find_model(generation.folder, manifest),
            origin=Origin.of(generation),
            former_root=Path(manifest.root),
            allow_outside=allow_outside,
            relevance_curve=manifest.relevance_curve,
        )

    def edited(self, edit: Edit) -> Catalogue:
        """Return this catalogue with the contents of an edit, which `save` writes."""
        return self._with(edit.contents, self._losses + edit.losses, edit.changes, self.relevance_curve)

    def _with(
        self, contents: Contents, losses: Losses, changes: Changes | None, curve: RelevanceCurve | None
    ) -> Catalogue:
        return Catalogue(
            contents,
            self.fingerprint,
            self.root,
            self.model,
            origin=self._origin,
            losses=losses,
            changes=changes,
            former_root=self._former_root,
            allow_outside=self.allow_outside,
            relevance_curve=curve,
        )

    def _check_losses(self, folder: Path, allow_shrink: float) -> None:
        """Raise CatalogueError if more than the share `allow_shrink` of what is in the folder would be lost."""
        manifest = current_manifest(folder)
        if manifest is None:
            return
        if self._origin is not None and self._origin.folder == folder.resolve():
            require_current(folder, self._origin, manifest)
            if self._losses != NO_LOSSES:
                self._losses.check([self._origin.generation or Generation.open(folder)], allow_shrink, folder)
            return
        try:
            old = Generation.open(folder)
            losses = Losses.between(old, self._contents)
        except CatalogueError as error:
            raise CatalogueError(f"{error}; --allow-shrink 1, or allow_shrink=1, replaces it") from error
        losses.check([old], allow_shrink, folder)
