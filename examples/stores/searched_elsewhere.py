"""A store whose candidates a vector database finds, while a catalogue on disk keeps everything else."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from clipshelf import Catalogue, Engine
from clipshelf.rank.exact import scores_of
from clipshelf.recommend.calibration import side_patterns
from clipshelf.recommend.catalogue_store import CatalogueStore
from clipshelf.recommend.recommender import StoreRecommender
from clipshelf.recommend.store import Candidates, Search
from clipshelf.types import FloatArray, Rows


class SearchedElsewhere(CatalogueStore, ABC):
    """A catalogue whose searches a database answers."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue, threads=1)
        self.patterns = side_patterns(catalogue.present)
        self.embeddings = np.asarray(catalogue.embeddings)

    @abstractmethod
    def nearest(self, row: FloatArray, pattern: int, allowed: Rows | None, count: int) -> list[int]:
        """Rows of the `count` products with the largest inner product.

        - `row`: (2D,) float32, the fused query.
        - `pattern`: the sides that they have: 3 both, 2 a picture, 1 a text.
        - `allowed`: the rows that may be found, None for all.
        """

    def search(self, searches: Sequence[Search]) -> list[Candidates]:
        """The candidates of each search."""
        return [self._one(search) for search in searches]

    def _one(self, search: Search) -> Candidates:
        if search.additions:
            return super().search([search])[0]  # the database knows nothing of boosts
        selection = self.without(search.selection, search.excluded)
        allowed = None if selection.mask is None else np.flatnonzero(selection.mask)
        rows: list[int] = []
        for pattern in np.unique(self.patterns).tolist() if len(self) else []:
            rows += self.nearest(search.row, pattern, allowed, search.count)
        found = np.array(rows, np.int64)
        scores = scores_of(self.embeddings.__getitem__, search.row.astype(np.float64), found)
        order = np.lexsort((found, -scores, self.patterns[found]))
        return Candidates(found[order], self.patterns[found[order]], scores[order], np.empty((0, len(found))))


def answer_from(store: Callable[[Catalogue], SearchedElsewhere]) -> None:
    """Answer a question from the catalogue that the command line names."""
    engine = Engine.load()
    recommender = StoreRecommender(engine, store(Catalogue.load(sys.argv[1])))
    for item in recommender.recommend("a warm jacket for the winter", k=5):
        print(f"{item.score:7.3f}  {item.id}")
