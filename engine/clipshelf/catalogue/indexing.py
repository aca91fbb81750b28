"""Makes and changes the catalogue in a folder; each change is one transaction, with the folder locked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.changes import DEFAULT_SHRINK, check_allow_shrink
from clipshelf.catalogue.disk.folder import current_manifest
from clipshelf.catalogue.disk.journal import Journal
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.messages import OnWarning, shorten_list
from clipshelf.catalogue.products import read_products
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.catalogue.side_embedding import EmbeddingCache
from clipshelf.errors import CatalogueError
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
    keep_text: bool = False,
    allow_shrink: float = DEFAULT_SHRINK,
    timeout: float = 0.0,
    on_warning: OnWarning | None = None,
    progress: Progress | None = None,
) -> Catalogue:
    """Embed products and save them as the catalogue in `folder`; they replace all products that it had.

    - `engine`: the model.
    - `products`: dicts, a table or a file, as `Catalogue.build` takes them.
    - `folder`: the catalogue's folder; it is made if there is none.
    - `fields`: how the columns are read.
    - `on_error`, `keep_text`, `on_warning`: as `Catalogue.build` takes them.
    - `allow_shrink`, `timeout`: as `Catalogue.save` takes them.
    - `progress`: called with the number of products done and of all, as products are embedded.

    Embeddings go to a journal in the folder as they are computed: after an interruption, the same call continues where
    it stopped. A text or picture that the folder's catalogue has from the same model is not embedded again.

    Returns the saved catalogue; its `changes` are those from what the folder had. Raises InputError naming the product,
    and CatalogueError when more than `allow_shrink` would go, when the folder holds something else or cannot be
    written, or while another writer is at work; the old catalogue stays then.
    """
    check_allow_shrink(allow_shrink)
    folder = Path(folder)
    current_manifest(folder)
    batch = read_products(products, fields=fields, on_error=on_error, on_warning=on_warning)
    with locked(folder, timeout=timeout), Journal(folder, engine.fingerprint, engine.dim) as journal:
        old = _load_old(folder, allow_shrink)
        if old is not None:
            # Before hours of embedding; what cannot be embedded is counted when the catalogue is saved.
            old.check_shrink((product["id"] for product in batch.products), allow_shrink, folder)
            if old.contents.word_columns and not batch.words and on_warning is not None:
                columns = shorten_list(old.contents.word_columns)
                on_warning(f"words: the catalogue had an index of the words of {columns}; --words makes it again")
        known = old.embedding_cache.tables if old and old.fingerprint == engine.fingerprint else ()
        catalogue = Catalogue.embed(
            engine,
            batch,
            cache=EmbeddingCache((*known, journal.table), journal),
            on_error=on_error,
            keep_text=keep_text,
            on_warning=on_warning,
            progress=progress,
        )
        catalogue = catalogue.compared_with(old)
        if old is not None and old.fingerprint == engine.fingerprint:
            catalogue = catalogue.with_relevance_curve(old.relevance_curve)
        catalogue.save_locked(folder, allow_shrink=allow_shrink)
    return catalogue


def change(
    folder: PathLike,
    edit: Callable[[Catalogue], Catalogue],
    *,
    allow_shrink: float = DEFAULT_SHRINK,
    timeout: float = 0.0,
) -> Catalogue:
    """Load the catalogue in `folder`, edit it, and save the result.

    - `folder`: the catalogue's folder.
    - `edit`: takes the loaded catalogue and returns the changed one; the folder is locked while it runs.
    - `allow_shrink`, `timeout`: as `Catalogue.save` takes them.

    Returns the saved catalogue. Raises what `edit` raises, and CatalogueError as `Catalogue.load` and `save` do.
    """
    check_allow_shrink(allow_shrink)
    folder = Path(folder)
    read_manifest(folder)
    with locked(folder, timeout=timeout):
        catalogue = edit(Catalogue.load(folder))
        catalogue.save_locked(folder, allow_shrink=allow_shrink)
    return catalogue


def _load_old(folder: Path, allow_shrink: float) -> Catalogue | None:
    """The catalogue in a folder, None where there is none, or a damaged one that may be replaced."""
    if current_manifest(folder) is None:
        return None
    try:
        return Catalogue.load(folder)
    except CatalogueError as error:
        if allow_shrink < 1:
            raise CatalogueError(f"{error}; --allow-shrink 1, or allow_shrink=1, replaces it") from error
        return None
