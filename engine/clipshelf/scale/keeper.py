"""Rolling change of generation: shards of a new one start beside those of the old one, which end when nobody asks them.

    publish          shards.json names the next generation
    start and warm   its shards are opened, each replica searches once, one query goes through all of them
    switch           queries that begin now use it; those in progress keep the generation that they began with
    end              the old shards are closed when their last query has its answer

Two generations at the most are open at the same time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clipshelf.catalogue.model_change import engine_for
from clipshelf.errors import CatalogueError, ShardLost
from clipshelf.files import read_stamp
from clipshelf.model.engine import Engine
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.manifest import MANIFEST
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.shards import Shards
from clipshelf.scale.shelf import ShardedShelf

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Open:
    """A generation that is open, and how many use it."""

    shelf: ShardedShelf
    manifest: bytes
    users: int = 0


class ShardedKeeper:
    """Keeps the newest generation of a sharded catalogue open.

    - `engine`: the model of the folder's generation. One of another model is opened with that model, which gets the
      options of the one before.
    - `folder`: of the sharded catalogue.
    - `open_shards`: opens the shards of a generation.
    - `root`, `allow_outside`: for pictures, as `Catalogue.load` takes them.
    - `patience`: seconds that queries of an old generation may still take.

    It has the methods of `clipshelf.serve.shelf.Keeper`. Any number of threads may share it. Raises CatalogueError for
    a folder that is none, FingerprintMismatch for an engine of another model, and what `open_shards` raises.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        open_shards: Callable[[ShardedCatalogue], Shards],
        *,
        root: Path | None = None,
        allow_outside: bool = False,
        patience: float = 30.0,
    ) -> None:
        self.folder = folder
        self._latest_engine = engine
        self._open_shards = open_shards
        self._root = root
        self._allow_outside = allow_outside
        self._patience = patience
        self._loading = threading.Lock()
        self._users = threading.Condition()
        self._is_closed = False
        self._stamp = self._read_stamp()
        catalogue = ShardedCatalogue(self.folder)
        catalogue.require(engine)
        self._open = self._opened(catalogue)

    @property
    def engine(self) -> Engine:
        """The model of the current generation."""
        return self._open.shelf.recommender.engine

    @property
    def current(self) -> ShardedShelf:
        """The generation that is current now."""
        return self._open.shelf

    @contextlib.contextmanager
    def use(self) -> Iterator[ShardedShelf]:
        """The current generation, whose shards stay open as long as the block lasts."""
        with self._users:
            opened = self._open
            opened.users += 1
        try:
            yield opened.shelf
        finally:
            with self._users:
                opened.users -= 1
                self._users.notify_all()

    def refresh(self, *, force: bool = False) -> None:
        """Take up a generation that was published since; look in any case with `force`.

        Returns when the old one has ended. One that cannot be opened leaves the current one in place, and raises
        ClipshelfError. Does nothing after `close`.
        """
        with self._loading:
            if self._is_closed:
                return
            stamp = self._read_stamp()
            if stamp == self._stamp and not force:
                return
            catalogue = ShardedCatalogue(self.folder)
            if catalogue.manifest.to_bytes() != self._open.manifest:
                self._end(self._switched(self._opened(catalogue)))
            self._stamp = stamp

    def close(self) -> None:
        """End the shards of the current generation, whoever uses them.

        A generation that is being opened meanwhile ends as soon as it is open.
        """
        with self._users:
            self._is_closed = True
            self._users.notify_all()
        self._open.shelf.recommender.shards.close()

    def _opened(self, catalogue: ShardedCatalogue) -> _Open:
        """Open and warm a generation; raises ShardLost where a shard does not answer."""
        self._latest_engine = engine_for(catalogue, self._latest_engine)
        shards = self._open_shards(catalogue)
        try:
            recommender = ShardedRecommender(self._latest_engine, catalogue, shards)
            if missing := recommender.recommend(text="warm", k=1).missing_shards:
                raise ShardLost(f"{self.folder}: expected an answer of each shard, found none of {missing}")
        except BaseException:
            shards.close()
            raise
        shelf = ShardedShelf(recommender, root=self._root, allow_outside=self._allow_outside)
        return _Open(shelf, catalogue.manifest.to_bytes())

    def _switched(self, opened: _Open) -> _Open:
        """Make a generation the current one; returns the one that ends, which is itself after `close`."""
        with self._users:
            if self._is_closed:
                return opened
            previous, self._open = self._open, opened
        _log.info("catalogue: generation %d, %d products", opened.shelf.generation, len(opened.shelf))
        return previous

    def _end(self, opened: _Open) -> None:
        """Close the shards of a generation when nobody uses them any more."""
        with self._users:
            self._users.wait_for(lambda: opened.users == 0 or self._is_closed, self._patience)
            if opened.users:
                _log.warning("catalogue: generation %d ends with queries in progress", opened.shelf.generation)
        opened.shelf.recommender.shards.close()

    def _read_stamp(self) -> tuple[int, int, int]:
        """What changes when a writer replaces the manifest."""
        try:
            return read_stamp(self.folder / MANIFEST)
        except OSError as error:
            raise CatalogueError(
                f"{self.folder}: expected the folder of a sharded catalogue with a {MANIFEST}, found none"
            ) from error
