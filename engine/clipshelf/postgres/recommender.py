"""Recommendations from a catalogue in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from clipshelf.model.engine import Engine
from clipshelf.postgres.catalogue import PostgresCatalogue
from clipshelf.recommend.recommender import StoreRecommender
from clipshelf.recommend.weights import Weights


class PostgresRecommender(StoreRecommender):
    """Answers queries from a catalogue in PostgreSQL, as `clipshelf.Recommender` does from one on disk.

    - `engine`, `catalogue`: of the same model, else FingerprintMismatch is raised.
    - `weights`, `half_life`, `gap_correction`: as those of `clipshelf.Recommender`.

    Any number of threads may share it. It can be pickled.
    """

    def __init__(
        self,
        engine: Engine,
        catalogue: PostgresCatalogue,
        *,
        weights: Weights | Mapping[str, float] | None = None,
        half_life: float = 30.0,
        gap_correction: bool = True,
    ) -> None:
        catalogue.require(engine)
        self.catalogue = catalogue
        super().__init__(engine, catalogue, weights=weights, half_life=half_life, gap_correction=gap_correction)

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), weights=self.weights, half_life=self.half_life, gap_correction=self.gap_correction)
        return make, (self.engine, self.catalogue)
