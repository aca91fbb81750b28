"""A generation of a sharded catalogue as `clipshelf serve` answers from it: what pages and clients read of it.

It has the methods of `clipshelf.serve.shelf.Shelf`, with the results of one catalogue with all products.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.column_summaries import ColumnSummary, summarise
from clipshelf.catalogue.picture_keys import picture_key
from clipshelf.scale.catalogue import shards_of
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.shards import require_all
from clipshelf.types import Product


class ShardedShelf:
    """One generation, whose shards are open.

    - `recommender`: answers queries from it.
    - `root`, `allow_outside`: for pictures, as `Catalogue.load` takes them.

    Any number of threads may share it. What needs a shard that does not answer raises ShardLost.
    """

    def __init__(
        self, recommender: ShardedRecommender, *, root: Path | None = None, allow_outside: bool = False
    ) -> None:
        self.recommender = recommender
        self._catalogue = recommender.catalogue
        self._root = root
        self._allow_outside = allow_outside
        self._opening = threading.Lock()
        self._opened: dict[int, Catalogue] = {}

    @property
    def generation(self) -> int:
        """The number of the generation."""
        return self._catalogue.manifest.generation

    def __len__(self) -> int:
        return len(self._catalogue)

    def find(self, id_: str) -> Product | None:
        """The record of a product."""
        rows = self.recommender.store.find([id_])
        return None if rows[0] < 0 else self.recommender.store.records(rows)[0]

    def spread(self, where: str | None, limit: int) -> tuple[int, list[Product]]:
        """How many products a filter lets through, and `limit` of them at equal distances."""
        store = self.recommender.store
        selection = store.select(where)
        count = min(limit, selection.count)
        ranks = np.arange(count) * selection.count // max(count, 1)
        return selection.count, store.records(store.rows_at(selection, ranks))

    def summarise_columns(self) -> list[ColumnSummary]:
        """What the columns have, one after the other, so that the values of one are in memory at a time."""
        shards = range(self._catalogue.shards)
        summaries = []
        for name, kind in self._catalogue.manifest.kinds.items():
            counts = self.recommender.shards.call("count_values", dict.fromkeys(shards, (name,)))
            summaries.append(summarise(name, kind, list(require_all(counts, dict.fromkeys(shards)).values())))
        return summaries

    def picture_keys(self, products: Sequence[Product], indices: Sequence[int]) -> list[bytes]:
        """The keys of one picture of each product."""
        keys = self.recommender.store.picture_keys([product["id"] for product in products])
        return list(map(picture_key, keys, indices))

    def picture(self, product: Product, index: int) -> Path | None:
        """The path of a picture; the folder of pictures is that of the product's shard."""
        return self._shard(int(shards_of([product["id"]], self._catalogue.shards)[0])).picture(product, index)

    def _shard(self, number: int) -> Catalogue:
        """The catalogue of a shard, opened for its paths: products are not read here."""
        with self._opening:
            if number not in self._opened:
                folder = self._catalogue.folder / self._catalogue.manifest.shards[number].folder
                self._opened[number] = Catalogue.load(folder, root=self._root, allow_outside=self._allow_outside)
            return self._opened[number]
