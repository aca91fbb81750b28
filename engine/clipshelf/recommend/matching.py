"""How probably the texts and pictures of a query belong to the pictures and texts of products.

A pair is a text of the query with the picture of a product, or a picture of the query with the text of a product. Each
has a probability (`clipshelf.model.match_probability`). That of a product is the mean over its pairs, which is the
expected share of them that belong together. Weights, gap correction and other signals do not change it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import IMAGE, TEXT, Statistics
from clipshelf.model.match_probability import match_probabilities
from clipshelf.recommend.explanations import dot_products
from clipshelf.recommend.fusion import centred_products
from clipshelf.recommend.signals import Signals
from clipshelf.types import Rows


class Matcher:
    """Gives the probabilities of products.

    - `catalogue`: of the products.
    - `logits`: the model's trained scale and bias.
    """

    def __init__(self, catalogue: Catalogue, logits: Mapping[str, float]) -> None:
        self._catalogue, self._logits = catalogue, logits
        self._uncentred = Statistics.none(catalogue.dim)

    def probabilities(self, signals: Signals, rows: Rows) -> list[float | None]:
        """Probabilities of the products of some rows (k,); None for a product without a pair."""
        if not len(signals.embeds):
            return [None] * len(rows)
        products = centred_products(rows, self._catalogue, self._uncentred)
        cosines = dot_products(signals.embeds.astype(np.float64), products)  # (E, 2, k, 2)
        pairs = np.stack([cosines[:, TEXT, :, IMAGE], cosines[:, IMAGE, :, TEXT]])
        probabilities = match_probabilities(self._logits, pairs)
        present = self._catalogue.present[rows]
        exists = np.stack([np.outer(signals.present[:, a], present[:, b]) for a, b in ((TEXT, IMAGE), (IMAGE, TEXT))])
        counts, sums = exists.sum(axis=(0, 1)), (probabilities * exists).sum(axis=(0, 1))
        return [total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True)]
