"""How probably the texts and pictures of a query belong to the pictures and texts of products.

A pair is a text of the query with the picture of a product, or a picture of the query with the text of a product. Each
has a probability (`clipshelf.model.match_probability`). That of a product is the mean over its pairs, which is the
expected share of them that belong together. Weights, gap correction and other signals do not change it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clipshelf.catalogue.statistics import IMAGE, TEXT, Statistics
from clipshelf.model.match_probability import match_probabilities
from clipshelf.recommend.explanations import dot_products
from clipshelf.recommend.fusion import centred
from clipshelf.recommend.signals import Signals
from clipshelf.recommend.store import ProductStore
from clipshelf.types import Rows


class Matcher:
    """Gives the probabilities of products.

    - `store`: has the products.
    - `logits`: the model's trained scale and bias.
    """

    def __init__(self, store: ProductStore, logits: Mapping[str, float]) -> None:
        self._store, self._logits = store, logits
        self._uncentred = Statistics.none(store.dim)

    def probabilities(self, signals: Signals, rows: Rows) -> list[float | None]:
        """Probabilities of the products of some rows (k,); None for a product without a pair."""
        if not len(signals.embeds):
            return [None] * len(rows)
        products = self._store.fetch(rows)
        cosines = dot_products(signals.embeds.astype(np.float64), centred(products, self._uncentred))  # (E, 2, k, 2)
        pairs = np.stack([cosines[:, TEXT, :, IMAGE], cosines[:, IMAGE, :, TEXT]])
        probabilities = match_probabilities(self._logits, pairs)
        present = products.present
        exists = np.stack([np.outer(signals.present[:, a], present[:, b]) for a, b in ((TEXT, IMAGE), (IMAGE, TEXT))])
        counts, sums = exists.sum(axis=(0, 1)), (probabilities * exists).sum(axis=(0, 1))
        return [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]
