"""Rows in fp16 for a device, and the bound on what their products say.

Row x = m + s (h + e) with mean m, scale s, fp16 h and rest e; query y = u (g + f) with scale u, fp16 g and rest f.
Scales are powers of two with |x - m| / s <= 1 and |y| / u <= 1. With v the product of h and g that the device puts out,

    | x · y  -  (m · y + s u v) |  <=  s u ( |e| |y / u| + |h| |f| + sums |h| |g| + rounding )             (bound)

by Cauchy and Schwarz. The device multiplies exactly and adds D products in float32 in any order, with each addition
off by up to 4 units of roundoff: matrix units cut where others round (Fasi, Higham, Mikaitis, Pranesh 2021, Numerical
behavior of NVIDIA tensor cores). So sums = 4 D 2**-24, and rounding = 2**-11 |h| |g| + 2**-25 is that of v to fp16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clipshelf.rank.bounds import row_norms
from clipshelf.rank.quantising import ROWS_AT_A_TIME, UNIT_ROUNDOFF, can_estimate, centre_of, norms_of, strips
from clipshelf.types import DoubleArray, FloatArray

HalfArray = npt.NDArray[np.float16]

PART_NUMBERS = 2**29  # numbers in a part: the host centres part by part, in memory of 4 bytes a number
HALF_ROUNDOFF, SMALLEST_HALF = 2.0**-11, 2.0**-25
SUM_ROUNDOFF = 4 * 2.0**-24
GROWTH = 1 + 2.0**-30  # of the float64 norms and sums of bounds


class HalfRows(NamedTuple):
    """A run of n rows.

    - `scaled`: (p, D) float32, zero beyond n, which the device rounds to h.
    - `mean`, `scale`: m (D,) and s.
    - `norm`, `rest`: the largest |h| and |e|; rest is infinity where the products say nothing.
    """

    rows: int
    scaled: FloatArray
    mean: DoubleArray
    scale: float
    norm: float
    rest: float


class HalfQueries(NamedTuple):
    """Q queries: g (Q, D), u (Q,), y / u (Q, D), and the norms (Q,) of y / u, f and g."""

    halves: HalfArray
    scales: DoubleArray
    scaled: DoubleArray
    norms: DoubleArray
    rests: DoubleArray
    half_norms: DoubleArray


def half_rows(matrix: FloatArray, norms: DoubleArray, multiple: int) -> HalfRows:
    """Centre and scale rows, and bound what their rounding to fp16 loses.

    Subtracting the mean in float32 is off by one unit of roundoff, scaling is exact, and rounding to fp16 is off by
    HALF_ROUNDOFF or, of the smallest numbers, by SMALLEST_HALF.

    - `matrix`: (n, D) float32, only read.
    - `norms`: upper bounds (n,) of their norms, see `clipshelf.rank.bounds.row_norms`.
    - `multiple`: of which p is one.
    """
    rows, dim = matrix.shape
    scaled = np.zeros((-(-rows // multiple) * multiple, dim), np.float32)
    if not can_estimate(matrix, norms):
        return HalfRows(rows, scaled, np.zeros(dim), 1.0, 0.0, math.inf)
    centre = centre_of(matrix)
    longest = 0.0
    for strip in strips(rows):
        np.subtract(matrix[strip], centre, out=scaled[strip])
        longest = max(longest, float(row_norms(scaled[strip]).max()))
    scale = _scale_of(longest)
    scaled /= np.float32(scale)
    smallest = math.sqrt(dim) * SMALLEST_HALF
    norm = longest / scale * (1 + HALF_ROUNDOFF) + smallest
    rest = longest / scale * (HALF_ROUNDOFF + 2 * UNIT_ROUNDOFF) + smallest
    return HalfRows(rows, scaled, centre.astype(np.float64), scale, norm * GROWTH, rest * GROWTH)


def half_queries(queries: FloatArray) -> HalfQueries:
    """Round queries (Q, D) float32 to fp16."""
    doubles = queries.astype(np.float64)
    scales = np.array([_scale_of(norm) for norm in norms_of(doubles).tolist()])
    scaled = doubles / scales[:, None]
    halves = scaled.astype(np.float16)
    half = halves.astype(np.float64)
    norms = (norms_of(numbers) * GROWTH for numbers in (scaled, scaled - half, half))
    return HalfQueries(halves, scales, scaled, *norms)


def errors(part: HalfRows, queries: HalfQueries) -> DoubleArray:
    """The right side (Q,) of the bound of this module, divided by s u."""
    dim = len(part.mean)
    products = (HALF_ROUNDOFF + dim * SUM_ROUNDOFF) * part.norm * queries.half_norms
    bounds: DoubleArray = part.rest * queries.norms + part.norm * queries.rests + products + SMALLEST_HALF
    return bounds * GROWTH


def offsets(part: HalfRows, queries: HalfQueries) -> tuple[DoubleArray, DoubleArray]:
    """m · y (Q,), and bounds (Q,) on its rounding errors."""
    sums: DoubleArray = np.einsum("qd,d->q", queries.scaled, part.mean) * queries.scales
    sizes = float(norms_of(part.mean)) * queries.norms * queries.scales
    return sums, sizes * ((len(part.mean) + 4) * 2.0**-53)


def part_slices(rows: int, dim: int, start: int) -> Iterator[slice]:
    """Runs of rows from `start` on, of at most PART_NUMBERS numbers each."""
    size = max(ROWS_AT_A_TIME, PART_NUMBERS // max(1, dim) // ROWS_AT_A_TIME * ROWS_AT_A_TIME)
    return (slice(at, min(at + size, rows)) for at in range(start, rows, size))


def _scale_of(norm: float) -> float:
    """The smallest power of two that is not below a norm, 1 for 0; one higher where rounding could have hidden it."""
    return math.ldexp(1.0, math.frexp(norm * GROWTH)[1]) if norm > 0 else 1.0
