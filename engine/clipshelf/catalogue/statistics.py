"""What a catalogue's embeddings have in common, so that cosines of different kinds can be put on one scale.

CLIP's pictures and texts lie in two narrow cones (the "modality gap", Liang et al., 2022, arXiv:2203.02053): any two
texts are alike, no text is like any picture, and the spreads differ too. A cosine between side a of one thing and side
b of another is therefore compared with what such a cosine usually is in this catalogue:

    z = <x - mean[a], y - mean[b]> / spread[a, b]

with the mean of each side, and the root mean square of the numerator over all pairs of different products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf.errors import CatalogueError
from clipshelf.types import DoubleArray, FloatArray, Rows

SIDES = ("image", "text")
IMAGE, TEXT = range(2)

_SAMPLE = 1 << 13  # rows that the statistics are taken from: their error is then about one per cent
ENOUGH = 16  # with fewer products on a side, its mean would be made of what it is compared with
_LEAST = 0.005  # a smaller spread means that all products are the same; noise is not to be blown up


@dataclass(frozen=True)
class Statistics:
    """Means (2, D) of the image and text rows; spreads (2, 2) between side a of one product and side b of another.

    Where a side has fewer than 16 products, nothing is corrected: the means are 0, the spreads 1. Where it has none at
    all, its mean is 0, and its spreads are those of a random direction.
    """

    means: DoubleArray
    spreads: DoubleArray

    @property
    def corrects(self) -> bool:
        """Whether there is a correction at all."""
        return bool(self.means.any())

    @classmethod
    def none(cls, dim: int) -> Statistics:
        """No correction at all: z is the cosine."""
        return cls(np.zeros((2, dim)), np.ones((2, 2)))

    @classmethod
    def of(cls, matrix: FloatArray) -> Statistics:
        """Statistics of a matrix (N, 2D), image rows | text rows, zeros where a product lacks a side."""
        dim = matrix.shape[1] // 2
        sample = matrix[spread_rows(len(matrix), _SAMPLE)]
        sides = [sample[:, :dim], sample[:, dim:]]
        present: list[npt.NDArray[np.bool_]] = [np.any(side, axis=1) for side in sides]
        counts = [int(has.sum()) for has in present]
        if not any(counts) or any(0 < count < ENOUGH for count in counts):
            return cls.none(dim)
        means = np.stack(
            [side.sum(axis=0, dtype=np.float64) / max(1, n) for side, n in zip(sides, counts, strict=True)]
        )
        centred = [(side - mean) * has[:, None] for side, mean, has in zip(sides, means, present, strict=True)]
        return cls(means, np.array([[_spread(centred, counts, a, b) for b in range(2)] for a in range(2)]))

    def close(self, other: Statistics) -> bool:
        """Whether both are the same but for roundings."""
        return np.allclose(self.means, other.means, atol=1e-4) and np.allclose(self.spreads, other.spreads, rtol=1e-3)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {"means": self.means.tolist(), "spreads": self.spreads.tolist()}

    @classmethod
    def from_dict(cls, data: Any, dim: int) -> Statistics:
        """The inverse of `to_dict`; raises CatalogueError on anything else."""
        try:
            means, spreads = (np.array(data[name], np.float64) for name in ("means", "spreads"))
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogueError(f"statistics: expected means and spreads, found: {error!r}") from error
        if (
            means.shape != (2, dim)
            or spreads.shape != (2, 2)
            or not np.isfinite(means).all()
            or not (spreads > 0).all()
        ):
            raise CatalogueError(f"statistics: expected means (2, {dim}) and spreads (2, 2) above 0, found others")
        return cls(means, spreads)


def spread_rows(count: int, most: int) -> Rows:
    """At most `most` of `count` row numbers, evenly spaced."""
    rows: Rows = np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)
    return rows


def _spread(centred: list[DoubleArray], counts: list[int], a: int, b: int) -> float:
    """Root mean square of <x_a, y_b> over pairs of different rows: all pairs in closed form, less the diagonal.

    The sum of squares over all pairs is trace(X'X Y'Y), so that no pair is formed.
    """
    x, y = centred[a], centred[b]
    if counts[b] == 0 or counts[a] == 0:
        # A direction drawn at random has the squares of the rows, shared by D dimensions.
        other = y if counts[b] else x
        return max(_LEAST, float(np.sqrt((other**2).sum() / max(counts) / x.shape[1])))
    squares = float(np.vdot(x.T @ x, y.T @ y))
    own = np.einsum("ij,ij->i", x, y)
    pairs = counts[a] * counts[b] - int(np.count_nonzero(own))
    return max(_LEAST, float(np.sqrt(max(0.0, squares - float(own @ own)) / pairs)))
