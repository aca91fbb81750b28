"""Scores of complete products in float64, worked out from the formulas of docs/scores.md and not by the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from clipshelf import Recommender
from clipshelf.types import DoubleArray


def cosine_scores(
    recommender: Recommender, texts: Sequence[str] = (), liked: Mapping[str, float] | None = None
) -> DoubleArray:
    """(N,) scores of all products for texts and liked products (id to strength), with the default weights."""
    catalogue, weights = recommender.catalogue, recommender.weights
    statistics, dim = catalogue.statistics, catalogue.dim
    centred = catalogue.embeddings.reshape(-1, 2, dim).astype(np.float64) - statistics.means
    signals: list[tuple[float, int, DoubleArray]] = []
    for text in texts:
        row = recommender.engine.embed_texts([text])[0].astype(np.float64) - statistics.means[1]
        signals.append((weights.text / len(texts), 1, row))
    strengths = liked or {}
    for id_, strength in strengths.items():
        share = 2 * weights.liked * strength / (1 + sum(strengths.values()))
        signals += [(share, side, centred[catalogue.row(id_), side]) for side in (0, 1)]
    pairs = {
        (0, 0): weights.image_image,
        (0, 1): weights.image_text,
        (1, 0): weights.text_image,
        (1, 1): weights.text_text,
    }
    total, mass = np.zeros(len(catalogue)), 0.0
    for weight, side, row in signals:
        for other in (0, 1):
            factor = weight * pairs[side, other]
            total += factor * (centred[:, other] @ row) / statistics.spreads[side, other]
            mass += abs(factor)
    return total / mass


def relevance(scores: DoubleArray, score: float, answerable: int) -> float:
    """The relevance of a score among those of the whole catalogue, of at most 1024 products."""
    ordered = np.sort(scores)
    median, upper = np.quantile(ordered, [0.5, 0.84134])
    z = (score - median) / (upper - median)
    return (1 - 0.5 * math.erfc(z / math.sqrt(2))) ** answerable
