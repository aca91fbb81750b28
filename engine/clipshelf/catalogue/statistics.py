"""Statistics of a catalogue's embeddings, which put the four kinds of cosine on one scale.

CLIP's pictures and texts lie in two narrow cones (the "modality gap", Liang et al., 2022, arXiv:2203.02053). Any two
texts are alike, no text is like any picture, and the spreads of their cosines differ. So a cosine between side a of one
thing and side b of another is compared with the cosines of that kind in this catalogue:

    z = <x - mean[a], y - mean[b]> / spread[a, b]

`mean` is the mean of each side, `spread` the root mean square of the numerator over all pairs of different products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clipshelf.calls import calls
from clipshelf.errors import CatalogueError
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

SIDES = ("image", "text")
IMAGE, TEXT = range(2)

# Below this number of products on a side, its mean would consist of the products that it is compared with.
MIN_PRODUCTS = 16

# The statistics are taken from at most this number of rows; their error is then about one per cent.
STATISTICS_ROWS = 1 << 13
# A smaller spread means that all products are the same; dividing by it would amplify noise.
_MIN_SPREAD = 0.005
# Rows have unit norm, and differ from their mean by 2 at the most; with room for rounding.
_LARGEST_MEAN, _LARGEST_SPREAD = 1.01, 4.01


@dataclass(frozen=True)
class Statistics:
    """Means and spreads of a catalogue's embeddings.

    - `means`: (2, D) float64 mean of the image rows and of the text rows.
    - `spreads`: (2, 2) float64 spread between side a of one product and side b of another.

    With fewer than 16 products on a side, nothing is corrected: the means are 0 and the spreads 1. A side without any
    product has mean 0, and its spreads are those of a random direction.
    """

    means: DoubleArray
    spreads: DoubleArray

    @property
    def corrects(self) -> bool:
        """Whether these statistics change a cosine."""
        return bool(self.means.any())

    @classmethod
    def none(cls, dim: int) -> Statistics:
        """The statistics that correct nothing: z is the cosine. `dim` is D."""
        return cls(np.zeros((2, dim)), np.ones((2, 2)))

    @classmethod
    def of(cls, matrix: FloatArray) -> Statistics:
        """Compute the statistics of embeddings.

        - `matrix`: (N, 2D) float32, image rows | text rows, zeros where a product lacks a side.
        """
        dim = matrix.shape[1] // 2
        sample = matrix[sample_rows(len(matrix), STATISTICS_ROWS)]
        sides = [sample[:, :dim], sample[:, dim:]]
        present: list[Mask] = [np.any(side, axis=1) for side in sides]
        counts = [int(has.sum()) for has in present]
        if not any(counts) or any(0 < count < MIN_PRODUCTS for count in counts):
            return cls.none(dim)
        means = np.stack(
            [side.sum(axis=0, dtype=np.float64) / max(1, n) for side, n in zip(sides, counts, strict=True)]
        )
        centred = [(side - mean) * has[:, None] for side, mean, has in zip(sides, means, present, strict=True)]
        return cls(means, np.array([[_spread(centred, counts, a, b) for b in range(2)] for a in range(2)]))

    def is_close(self, other: Statistics) -> bool:
        """Whether both are equal up to rounding."""
        return np.allclose(self.means, other.means, atol=1e-4) and np.allclose(self.spreads, other.spreads, rtol=1e-3)

    def to_dict(self) -> dict[str, Any]:
        """Return both as lists, for JSON."""
        return {"means": self.means.tolist(), "spreads": self.spreads.tolist()}

    @classmethod
    def from_dict(cls, data: Any, dim: int) -> Statistics:
        """Invert `to_dict`.

        - `data`: what JSON gave.
        - `dim`: D, which the means must have.

        Raises CatalogueError for anything that is not the dict of such statistics.
        """
        try:
            means, spreads = (np.array(data[name], np.float64) for name in ("means", "spreads"))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CatalogueError(f"statistics: expected means and spreads, found: {error!r}") from error
        if (
            means.shape != (2, dim)
            or spreads.shape != (2, 2)
            or not (np.abs(means) <= _LARGEST_MEAN).all()
            or not ((spreads >= _MIN_SPREAD) & (spreads <= _LARGEST_SPREAD)).all()
        ):
            raise CatalogueError(
                f"statistics: expected means (2, {dim}) up to {_LARGEST_MEAN} and spreads (2, 2) from {_MIN_SPREAD} to "
                f"{_LARGEST_SPREAD}, found others"
            )
        return cls(means, spreads)


def sample_rows(count: int, limit: int) -> Rows:
    """Return at most `limit` row numbers, int64 ascending, evenly spaced over `count` rows."""
    rows: Rows = np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64)
    return rows


def _spread(centred: list[DoubleArray], counts: list[int], a: int, b: int) -> float:
    """Root mean square of <x_a, y_b> over pairs of different rows.

    The sum of squares over all pairs is trace(X'X Y'Y), which forms no pair; the pairs of a row with itself, the
    diagonal, are subtracted.
    """
    x, y = centred[a], centred[b]
    if counts[b] == 0 or counts[a] == 0:
        # The squared cosine with a random direction is, on average, the squared norm over D.
        other = y if counts[b] else x
        return max(_MIN_SPREAD, float(np.sqrt((other**2).sum() / max(counts) / x.shape[1])))
    with calls:
        squares = float(np.vdot(x.T @ x, y.T @ y))
    diagonal = np.einsum("ij,ij->i", x, y)
    pairs = counts[a] * counts[b] - int(np.count_nonzero(diagonal))
    return max(_MIN_SPREAD, float(np.sqrt(max(0.0, squares - float(diagonal @ diagonal)) / pairs)))
