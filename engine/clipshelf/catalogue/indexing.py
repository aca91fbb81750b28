"""What the command line does to a catalogue's folder, each as one transaction of the folder's one writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.disk.journal import Journal
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.save import current
from clipshelf.catalogue.embedding import Memory, Progress
from clipshelf.catalogue.products import read_products
from clipshelf.catalogue.readers import Fields
from clipshelf.files import locked
from clipshelf.model.engine import Engine
from clipshelf.types import PathLike, Product


def index(
    engine: Engine,
    products: PathLike | Iterable[Product],
    folder: Path,
    *,
    fields: Fields,
    on_error: str = "raise",
    progress: Progress | None = None,
) -> Catalogue:
    """Make `folder` the catalogue of these products; `clipshelf.Catalogue.build` says what they may be.

    What is embedded goes to a journal in the folder at once, so that after an interruption the same call goes on where
    it stopped. Neither is anything embedded again that the folder's catalogue has from the same model.
    Raises InputError or CatalogueError; the catalogue that was there stays.
    """
    current(folder)
    batch = read_products(products, fields=fields, on_error=on_error)
    with locked(folder), Journal(folder, engine.fingerprint, engine.dim) as journal:
        before = Catalogue.load(folder) if current(folder) else None
        known = before.memory.known if before and before.fingerprint == engine.fingerprint else ()
        memory = Memory((*known, journal.known), journal)
        catalogue = Catalogue.embed(engine, batch, memory=memory, on_error=on_error, progress=progress)
        catalogue.save_locked(folder)
    return catalogue


def change(folder: Path, how: Callable[[Catalogue], Catalogue]) -> Catalogue:
    """Load the catalogue in `folder`, save what `how` makes of it, and return that."""
    read_manifest(folder)
    with locked(folder):
        catalogue = how(Catalogue.load(folder))
        catalogue.save_locked(folder)
    return catalogue
