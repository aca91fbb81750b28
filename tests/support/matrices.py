"""Matrices of many kinds, and the exact best rows by the slow and plain way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from clipshelf.types import FloatArray, Mask, Rows

KINDS = (
    *("normal", "unit", "integers", "clustered", "nearly equal", "duplicates", "zero", "denormal", "huge"),
    *("wild norms", "one giant", "outlier column", "sparse"),
)


def matrix_of(kind: str, n: int, dim: int, rng: np.random.Generator) -> FloatArray:
    """A matrix (n, dim) float32 of one of KINDS."""
    normal = rng.standard_normal((n, dim))
    centers = rng.standard_normal((3, dim))[rng.integers(0, 3, n)]
    matrices: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "normal": lambda: normal,
        "unit": lambda: normal / np.linalg.norm(normal, axis=1, keepdims=True),
        "integers": lambda: rng.integers(-2, 3, (n, dim)),
        "clustered": lambda: centers + 1e-2 * normal,
        "nearly equal": lambda: centers * (1 + 1e-7 * normal),
        "duplicates": lambda: normal[rng.integers(0, 1 + n // 9, n)],
        "zero": lambda: np.zeros((n, dim)),
        "denormal": lambda: 1e-43 * normal,
        "huge": lambda: 1e37 * normal,
        "wild norms": lambda: normal * 10.0 ** rng.uniform(-30, 30, (n, 1)),
        "one giant": lambda: np.concatenate((1e20 * normal[:1], normal[1:])),
        "outlier column": lambda: normal + 100 * np.eye(dim)[0],
        "sparse": lambda: normal * (rng.random((n, dim)) < 0.1),
    }
    matrix: FloatArray = matrices[kind]().astype(np.float32)
    return matrix


def exact_scores(matrix: FloatArray, query: FloatArray) -> FloatArray:
    """Scores (n,) by a sum that rounds once, at its end."""
    double, column = matrix.astype(np.float64), query.astype(np.float64)
    with np.errstate(over="ignore"):
        return np.array([math.fsum(row * column) for row in double]).astype(np.float32)


def best_of(scores: FloatArray, k: int, mask: Mask | None = None) -> Rows:
    """Rows (k,) of the best scores, best first, ties by lower row."""
    rows = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    best: Rows = rows[np.lexsort((rows, -scores[rows]))][:k]
    return best
