"""A recommender over shards: the code of one machine, on a store that asks the shards."""

from __future__ import annotations

from collections.abc import Mapping

from clipshelf.model.engine import Engine
from clipshelf.recommend.recommender import StoreRecommender
from clipshelf.recommend.weights import Weights
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.shards import LocalShards, Shards
from clipshelf.scale.store import ShardedStore


class ShardedRecommender(StoreRecommender):
    """Answers queries from a sharded catalogue, as `Recommender` does from the catalogue of all its products.

    - `engine`, `catalogue`: of the same model, else FingerprintMismatch is raised.
    - `shards`: calls the shards; None opens all of them in this process.
    - `weights`, `half_life`, `gap_correction`: as `Recommender` takes them.

    An answer that lacks the products of some shards names these in `missing_shards`. Where a query needs products of
    such a shard, because it likes them for instance, ShardLost is raised. A shard that is lost after it was searched
    makes the search begin again, without it.
    """

    def __init__(
        self,
        engine: Engine,
        catalogue: ShardedCatalogue,
        shards: Shards | None = None,
        *,
        weights: Weights | Mapping[str, float] | None = None,
        half_life: float = 30.0,
        gap_correction: bool = True,
    ) -> None:
        catalogue.require(engine)
        self.catalogue = catalogue
        if shards is None:
            shards = LocalShards(catalogue.folder, catalogue.manifest)
        self.shards = shards
        self.store = ShardedStore(catalogue, shards)
        super().__init__(engine, self.store, weights=weights, half_life=half_life, gap_correction=gap_correction)
