"""The catalogue that answers: its current generation, opened and ready, replaced in one step when another is there."""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.manifest import MANIFEST
from clipshelf.errors import CatalogueError
from clipshelf.model.engine import Engine
from clipshelf.recommend.recommender import Recommender

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shelf:
    """One generation of the catalogue; a request uses the same one from its begin to its end.

    - `recommender`: answers queries from it.
    - `generation`: its number.
    """

    recommender: Recommender
    generation: int

    @property
    def catalogue(self) -> Catalogue:
        """The products."""
        return self.recommender.catalogue


class ShelfKeeper:
    """Opens the catalogue's folder, and opens it again when its generation has changed.

    - `engine`: the model.
    - `folder`: the catalogue's folder.
    - `root`, `allow_outside`: as `Catalogue.load` takes them.

    `current` may be read by any thread; it changes in one step. Raises CatalogueError.
    """

    def __init__(self, engine: Engine, folder: Path, *, root: Path | None = None, allow_outside: bool = False) -> None:
        self.engine = engine
        self.folder = folder
        self._root = root
        self._allow_outside = allow_outside
        self._loading = threading.Lock()
        self._stamp = self._read_stamp()
        self.current = self._open()

    def refresh(self, *, force: bool = False) -> None:
        """Open the folder again if it was written since, or in any case with `force`.

        A folder that cannot be opened leaves the current generation in place, and raises ClipshelfError.
        """
        with self._loading:
            stamp = self._read_stamp()
            if stamp == self._stamp and not force:
                return
            shelf = self._open()
            self.current, self._stamp = shelf, stamp
            settle_memory()
        _log.info("catalogue: generation %d, %d products", shelf.generation, len(shelf.catalogue))

    def _open(self) -> Shelf:
        catalogue = Catalogue.load(self.folder, root=self._root, allow_outside=self._allow_outside)
        contents = catalogue.contents
        if not isinstance(contents, Generation):
            raise CatalogueError(f"{self.folder}: expected a saved catalogue, found one in memory")
        return Shelf(Recommender(self.engine, catalogue), contents.manifest.generation)

    def _read_stamp(self) -> tuple[int, int, int]:
        """What changes when a writer replaces the manifest."""
        try:
            status = (self.folder / MANIFEST).stat()
        except OSError as error:
            raise CatalogueError(f"{self.folder}: expected a catalogue folder with a {MANIFEST}, found none") from error
        return status.st_mtime_ns, status.st_ino, status.st_size


def settle_memory() -> None:
    """Leave the objects that are there now out of later collections of garbage, which stop all threads.

    Those of an engine and a catalogue are many, and stay. Called when these have changed, so that a circle of objects
    of the last generation is collected.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
