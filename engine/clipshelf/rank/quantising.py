"""Rows in int8: each less the mean of its part, in levels from -91 to 91 of a step of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from clipshelf.types import DoubleArray, FloatArray

LARGEST_LEVEL = 91

UNIT_ROUNDOFF = 2.0**-24  # relative error of one rounding to float32
SMALLEST_WIDTH = 2.0**-100  # underflow (below 2**-126) is less than what this adds to a width
LONGEST_ROW = 1e30  # longer rows could overflow float32: they are not estimated, their slack is infinite

ROWS_AT_A_TIME = 256  # what lies between the rows and their int8 copy stays in the cache


class Levels(NamedTuple):
    """Rows x = s (q + r): steps s, levels q, rests r."""

    levels: FloatArray  # (n, D) whole numbers
    steps: FloatArray  # (n,)
    rest_norms: FloatArray  # (n,) at least |r|, with the roundings that `quantise` names
    level_norms: FloatArray  # (n,) at least |q|


def quantise(rows: FloatArray, smallest: float) -> Levels:
    """Quantise centred rows (n, D) float32, with steps of at least `smallest`, see `smallest_step`.

    Roundings are added to |r|. Those of x - m and of its quotient by s: at most 2 u 128 sqrt(D) = sqrt(D) 2**-16. A
    step is at least 2**-30 of the longest row |x|, so that offset and final score, each a sum in float64 with an error
    below D 2**-53 |x| |y|, add at most D 2**-22.
    """
    steps = np.maximum(np.abs(rows).max(axis=1) * np.float32(1 / LARGEST_LEVEL), np.float32(smallest))
    rests = rows / steps[:, None]
    levels = np.rint(rests)
    rests -= levels
    dim = rows.shape[1]
    roundings = math.sqrt(dim) * 2.0**-15 + (dim + 4) * 2.0**-22
    growth = 1 + (dim + 8) * UNIT_ROUNDOFF  # of the float32 sums below
    rest_norms, level_norms = (np.sqrt(np.einsum("ij,ij->i", numbers, numbers)) * growth for numbers in (rests, levels))
    return Levels(levels, steps, (rest_norms + roundings) * growth, level_norms * growth)


def smallest_step(norms: DoubleArray) -> float:
    """The smallest step of rows with these norms (n,)."""
    return max(SMALLEST_WIDTH, float(norms.max(initial=0)) * 2.0**-30)


def strips(rows: int, start: int = 0) -> Iterator[slice]:
    """Runs of at most ROWS_AT_A_TIME rows, from `start` on."""
    return (slice(at, min(at + ROWS_AT_A_TIME, rows)) for at in range(start, rows, ROWS_AT_A_TIME))


def can_estimate(matrix: FloatArray, norms: DoubleArray) -> bool:
    """Whether no product of these rows can overflow float32, nor a sum of digits int32."""
    return bool(norms.max(initial=0) < LONGEST_ROW) and 0 < matrix.shape[1] <= 2**16


def norms_of(rows: DoubleArray) -> DoubleArray:
    """Norms (...) of rows (..., D)."""
    squares: DoubleArray = np.matmul(rows[..., None, :], rows[..., :, None])[..., 0, 0]
    return np.sqrt(squares, out=squares)


def centre_of(matrix: FloatArray) -> FloatArray:
    """The mean row (D,), or zero where subtracting the mean makes rows longer by the median of a sample.

    Embeddings share a large mean (two CLIP pictures have a cosine of about 0.8), but one giant row could spoil it.
    """
    mean: FloatArray = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample = matrix[:: len(matrix) // 1024 + 1].astype(np.float64)
    shortens = np.median(norms_of(sample - mean)) < np.median(norms_of(sample))
    return mean if shortens else np.zeros_like(mean)
