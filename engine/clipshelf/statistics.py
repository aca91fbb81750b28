"""What a catalogue's four kinds of cosine look like, so that they can be added up.

CLIP keeps texts and pictures in two narrow cones far from each other (the modality gap: Liang et al. 2022,
https://arxiv.org/abs/2203.02053): two texts are alike whatever they say, a text and a picture never are. A plain sum of
cosines is ruled by whichever kind varies most. Here each side is centred on its mean over the catalogue, and each kind
of cosine is divided by its spread between products that have nothing to do with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipshelf.types import FloatArray

# Means and spreads settle long before this many products; the rows are taken evenly over the catalogue.
_SAMPLE = 16_384
# Spread where there is nothing to measure: one product, or all the same.
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Means of the image and text rows (2, D), and the spread of each kind of cosine (2, 2).

    Index 0 is the image side, 1 the text side; `spread[a, b]` is the standard deviation, over pairs of products, of the
    centred inner product of one's side a with the other's side b.
    """

    means: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, embeddings: FloatArray) -> Statistics:
        """Measure a joined matrix (N, 2D) of image rows | text rows; zero rows, which stand for nothing, are left out.

        The mean square of x @ y over independent rows x and y is trace(cov(x) cov(y)), so no pair is ever formed.
        """
        dim = embeddings.shape[1] // 2
        rows = np.linspace(0, len(embeddings) - 1, min(len(embeddings), _SAMPLE)).astype(np.int64)
        sample = np.asarray(embeddings[rows], np.float32)
        means = np.zeros((2, dim), np.float32)
        covariances = np.zeros((2, dim, dim), np.float32)
        for side in (0, 1):
            there = sample[:, side * dim : (side + 1) * dim]
            there = there[there.any(axis=1)]
            if len(there):
                means[side] = there.mean(axis=0, dtype=np.float64)
                centred = there - means[side]
                covariances[side] = centred.T @ centred / len(there)
        squares = np.einsum("aij,bji->ab", covariances, covariances)
        spread = np.sqrt(np.maximum(squares, 0)).astype(np.float32)
        return cls(means, np.where(spread > _LEAST_SPREAD, spread, np.float32(1)))
