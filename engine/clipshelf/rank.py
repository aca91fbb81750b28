"""Exact top-k by inner product. Pure: arrays in, arrays out; rows are taken as they are, never normalised."""

from __future__ import annotations

import numpy as np

from clipshelf.errors import InputError
from clipshelf.types import FloatArray, Rows


class Ranker:
    """Searches the rows of one matrix (N, D) float32 by inner product."""

    def __init__(self, matrix: FloatArray) -> None:
        if matrix.ndim != 2 or matrix.dtype != np.float32:
            raise InputError(f"matrix: expected float32 (N, D), found {matrix.dtype} {matrix.shape}")
        self._matrix = matrix

    def top_k(self, queries: FloatArray, k: int) -> tuple[FloatArray, Rows]:
        """Scores (Q, k) float32 and rows (Q, k) int64 of the best rows, best first, ties by lower row.

        k is cut to N. Raises InputError on shapes that don't fit and on NaN or infinite queries.
        """
        if queries.ndim != 2 or queries.shape[1] != self._matrix.shape[1]:
            raise InputError(f"queries: expected (Q, {self._matrix.shape[1]}), found {queries.shape}")
        if k < 1:
            raise InputError(f"k: expected 1 or more, found {k}")
        if not np.isfinite(queries).all():
            raise InputError("queries: expected finite numbers, found NaN or infinity")
        k = min(k, len(self._matrix))
        scores = queries @ self._matrix.T
        rows = np.empty((len(queries), k), np.int64)
        for best, line in zip(rows, scores, strict=True):
            best[:] = _best_rows(line, k)
        return np.take_along_axis(scores, rows, axis=1), rows


def _best_rows(scores: FloatArray, k: int) -> Rows:
    """The k best of scores (N,), best first. All above the k-th score, then its ties from the lowest row on."""
    if k == 0:
        return np.empty(0, np.int64)
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > threshold)
    ties = np.flatnonzero(scores == threshold)[: k - len(above)]
    rows = np.concatenate((above, ties))
    return rows[np.lexsort((rows, -scores[rows]))]
