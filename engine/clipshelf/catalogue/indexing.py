"""Makes and changes the catalogue in a folder; each change is one transaction, with the folder locked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.disk.journal import Journal
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.save import current_manifest
from clipshelf.catalogue.embedding import EmbeddingCache
from clipshelf.catalogue.products import read_products
from clipshelf.catalogue.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.failures import OnError
from clipshelf.files import locked
from clipshelf.model.engine import Engine
from clipshelf.types import PathLike, Product, Progress


def index(
    engine: Engine,
    products: PathLike | Iterable[Product],
    folder: PathLike,
    *,
    fields: ProductFields = DEFAULT_FIELDS,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> Catalogue:
    """Embed products and save them as the catalogue in `folder`; they replace all products that it had.

    - `engine`: the model.
    - `products`: dicts, a table or a file, as `Catalogue.build` takes them.
    - `folder`: the catalogue's folder; it is made if there is none.
    - `fields`: the columns of id, text and image.
    - `on_error`: the error policy for a product that cannot be used, see `clipshelf.failures`.
    - `progress`: called with the number of products done and of all, as products are embedded.

    Embeddings go to a journal in the folder as they are computed: after an interruption, the same call continues where
    it stopped. A text or picture that the folder's catalogue has from the same model is not embedded again.

    Returns the saved catalogue. Raises InputError naming the product, and CatalogueError when the folder holds
    something else or cannot be written, or while another writer is at work; the old catalogue stays then.
    """
    folder = Path(folder)
    current_manifest(folder)
    batch = read_products(products, fields=fields, on_error=on_error)
    with locked(folder), Journal(folder, engine.fingerprint, engine.dim) as journal:
        old = Catalogue.load(folder) if current_manifest(folder) else None
        known = old.embedding_cache.tables if old and old.fingerprint == engine.fingerprint else ()
        cache = EmbeddingCache((*known, journal.table), journal)
        catalogue = Catalogue.embed(engine, batch, cache=cache, on_error=on_error, progress=progress)
        catalogue.save_locked(folder)
    return catalogue


def change(folder: PathLike, edit: Callable[[Catalogue], Catalogue]) -> Catalogue:
    """Load the catalogue in `folder`, edit it, and save the result.

    - `folder`: the catalogue's folder.
    - `edit`: takes the loaded catalogue and returns the changed one; the folder is locked while it runs.

    Returns the saved catalogue. Raises what `edit` raises, and CatalogueError as `Catalogue.load` and `save` do.
    """
    folder = Path(folder)
    read_manifest(folder)
    with locked(folder):
        catalogue = edit(Catalogue.load(folder))
        catalogue.save_locked(folder)
    return catalogue
