"""What is served: the current generation of the products, opened and ready, replaced when another is there.

The service knows a `Shelf` and a `Keeper`, whatever they stand for. Those of one catalogue on this machine are here;
those of a catalogue in shards are in `clipshelf.scale`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.column_summaries import ColumnSummary, count_values, summarise
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.manifest import MANIFEST
from clipshelf.catalogue.model_change import engine_for
from clipshelf.catalogue.picture_keys import picture_key, picture_keys
from clipshelf.errors import CatalogueError
from clipshelf.files import read_stamp
from clipshelf.model.engine import Engine
from clipshelf.recommend.recommender import Recommender, StoreRecommender
from clipshelf.types import Product

_log = logging.getLogger(__name__)


class Shelf(Protocol):
    """One generation of N products; a request uses the same one from its begin to its end.

    Any number of threads may share it. Its methods may wait for a disk or another machine, so the loop of the service
    does not call them. They raise ShardLost where that machine does not answer.
    """

    @property
    def recommender(self) -> StoreRecommender:
        """What answers queries."""

    @property
    def generation(self) -> int:
        """The number of the generation."""

    def __len__(self) -> int: ...

    def find(self, id_: str) -> Product | None:
        """Return the record of a product, None where there is none."""

    def spread(self, where: str | None, limit: int) -> tuple[int, list[Product]]:
        """Return how many products a filter lets through, and `limit` of them at equal distances; raises InputError."""

    def summarise_columns(self) -> list[ColumnSummary]:
        """Return what the columns have. Reads all of them."""

    def picture_keys(self, products: Sequence[Product], indices: Sequence[int]) -> list[bytes]:
        """Return the keys of the contents of n pictures: one of each of n products, from 0."""

    def picture(self, product: Product, index: int) -> Path | None:
        """Return the path of a picture, None where it is not on this machine; raises ImageError."""


class Keeper(Protocol):
    """Opens products, and takes up a generation that is published later.

    - `folder`: where the products are.
    """

    folder: Path

    @property
    def engine(self) -> Engine:
        """The model of the current generation."""

    @property
    def current(self) -> Shelf:
        """The generation that is current now. It may end at any time; a request takes one by `use`."""

    def use(self) -> AbstractContextManager[Shelf]:
        """The current generation, which lasts as long as the block."""

    def refresh(self, *, force: bool = False) -> None:
        """Take up what was published since; look in any case with `force`.

        What cannot be opened leaves the current generation in place, and raises ClipshelfError.
        """


@dataclass(frozen=True)
class CatalogueShelf:
    """One generation of a catalogue on this machine.

    - `recommender`: answers queries from it.
    - `generation`: its number.
    """

    recommender: Recommender
    generation: int

    @property
    def catalogue(self) -> Catalogue:
        """The products."""
        return self.recommender.catalogue

    def __len__(self) -> int:
        return len(self.catalogue)

    def find(self, id_: str) -> Product | None:
        """The record of a product."""
        row = int(self.catalogue.find([id_])[0])
        return None if row < 0 else self.catalogue.records([row])[0]

    def spread(self, where: str | None, limit: int) -> tuple[int, list[Product]]:
        """Products at equal distances among those that a filter lets through."""
        rows = np.arange(len(self)) if where is None else np.flatnonzero(self.catalogue.mask(where))
        count = min(limit, len(rows))
        return len(rows), self.catalogue.records(rows[np.arange(count) * len(rows) // max(count, 1)])

    def summarise_columns(self) -> list[ColumnSummary]:
        """What the columns have."""
        contents = self.catalogue.contents
        return [summarise(name, kind, [count_values(contents, name)]) for name, kind in contents.kinds.items()]

    def picture_keys(self, products: Sequence[Product], indices: Sequence[int]) -> list[bytes]:
        """The keys of one picture of each product."""
        rows = self.catalogue.find([product["id"] for product in products])
        keys = picture_keys(self.catalogue.contents, rows)
        return list(map(picture_key, keys, indices))

    def picture(self, product: Product, index: int) -> Path | None:
        """The path of a picture."""
        return self.catalogue.picture(product, index)


class ShelfKeeper:
    """Opens a catalogue's folder, and opens it again when its generation has changed.

    A generation of another model is opened with that model, which gets the options of the one before.

    - `engine`: the model of the folder's generation.
    - `folder`: the catalogue's folder.
    - `root`, `allow_outside`: as `Catalogue.load` takes them.

    `current` may be read by any thread; it changes in one step. Raises CatalogueError.
    """

    def __init__(self, engine: Engine, folder: Path, *, root: Path | None = None, allow_outside: bool = False) -> None:
        self.folder = folder
        self._root = root
        self._allow_outside = allow_outside
        self._loading = threading.Lock()
        self._choosing = threading.Lock()
        self._latest_engine = engine
        self._stamp = self._read_stamp()
        self.current = self._open(engine)

    @property
    def engine(self) -> Engine:
        """The model of the current generation."""
        return self.current.recommender.engine

    def engine_of(self, catalogue: Catalogue) -> Engine:
        """The model of a generation, warm; raises ClipshelfError where it cannot be opened."""
        with self._choosing:
            self._latest_engine = engine_for(catalogue, self._latest_engine)
            return self._latest_engine

    @contextlib.contextmanager
    def use(self) -> Iterator[CatalogueShelf]:
        """The current generation; who holds it keeps it open."""
        yield self.current

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
        _log.info("catalogue: generation %d, %d products", shelf.generation, len(shelf))

    def _open(self, engine: Engine | None = None) -> CatalogueShelf:
        """The folder's generation, with `engine`, or else with the model that it names."""
        catalogue = Catalogue.load(self.folder, root=self._root, allow_outside=self._allow_outside)
        contents = catalogue.contents
        if not isinstance(contents, Generation):
            raise CatalogueError(f"{self.folder}: expected a saved catalogue, found one in memory")
        return CatalogueShelf(Recommender(engine or self.engine_of(catalogue), catalogue), contents.manifest.generation)

    def _read_stamp(self) -> tuple[int, int, int]:
        """What changes when a writer replaces the manifest."""
        try:
            return read_stamp(self.folder / MANIFEST)
        except OSError as error:
            raise CatalogueError(f"{self.folder}: expected a catalogue folder with a {MANIFEST}, found none") from error


def settle_memory() -> None:
    """Leave the objects that are there now out of later collections of garbage, which stop all threads.

    Those of an engine and a catalogue are many, and stay. Called when these have changed, so that a circle of objects
    of the last generation is collected.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
