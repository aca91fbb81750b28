"""Cheap estimates of inner products, each with a proven bound on its error.

A part is a run of rows (n, D). It estimates the inner products of Q queries with all its rows, reading them once. For
row x, with v the estimate,

    | x · y  -  (offset + v) |  <=  slacks · widths of x                                                      (bound)

where offset and slacks belong to the query and the part, and y is the query in a unit of its own (see `encode`). Two
kinds of part keep that promise: `FloatRows` by NumPy's matmul, `Int8Rows` by a quantised copy a quarter of the size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.calls import calls
from clipshelf.errors import InputError
from clipshelf.rank.quantising import (
    LONGEST_ROW,
    ROWS_AT_A_TIME,
    SMALLEST_WIDTH,
    UNIT_ROUNDOFF,
    can_estimate,
    centre_of,
    norms_of,
    quantise,
    smallest_step,
    strips,
)
from clipshelf.runtime.matmul import Int8MatMul
from clipshelf.types import DoubleArray, FloatArray

Digits: TypeAlias = npt.NDArray[np.uint8]

# A part is padded to a multiple of LANES rows, so that they fall into LANES runs of the same length.
LANES = 64
# Queries have digits from -90 to 90, stored from 0. Two products 91 * 180 of levels and digits fit the 16 bits that
# CPUs without VNNI add in, and the errors of levels and digits, which add up to the bound, are alike.
LARGEST_DIGIT = ZERO_POINT = 90
DIGIT_BASE = 2 * LARGEST_DIGIT + 1

SMALLEST_FLOAT32 = 2.0**-149
TRUSTED_SQUARES = SMALLEST_WIDTH, LONGEST_ROW  # float32 sums of squares that neither underflow nor overflow spoils

# Numbers in the rows up to which the products of one query are worth no second thread.
LARGEST_UNSHARED = 2**21


@dataclass
class EncodedQueries:
    """Q queries y, each in its own unit: `query = unit * y`."""

    units: list[float]  # (Q,)
    scaled: DoubleArray  # (Q, D) y
    slacks: DoubleArray  # (Q, 2) at least |y|, and |y - digits| with the roundings of the products of digits
    digits: Digits  # (number of digits * Q, D) all high digits, then all low ones


def encode(queries: FloatArray, digits: int = 2) -> EncodedQueries:
    """Encode queries (Q, D) float32 with one or two digits for each number.

    With two digits `y = 181 * high + low + rest`, max |y| = 16290; with one `y = high + rest`, max |y| = 90.
    """
    largest = LARGEST_DIGIT * DIGIT_BASE ** (digits - 1)
    maxima = np.maximum.reduce(np.abs(queries), axis=1, initial=SMALLEST_FLOAT32)
    units = np.divide(maxima, largest, dtype=np.float64)
    scaled, rests = scaled_and_rests = np.empty((2, *queries.shape))
    np.divide(queries, units[:, None], out=scaled)
    whole = np.rint(scaled)
    np.subtract(scaled, whole, out=rests)
    roundings = 5 * UNIT_ROUNDOFF * (largest + DIGIT_BASE) * math.sqrt(queries.shape[1] + 1)
    slacks = norms_of(scaled_and_rests).T + roundings
    whole += largest + (digits - 1) * ZERO_POINT
    if digits > 1:
        whole = np.concatenate(np.divmod(whole.astype(np.uint16), DIGIT_BASE))
    return EncodedQueries(units.tolist(), scaled, slacks, whole.astype(np.uint8))


class Part(Protocol):
    """A run of rows whose inner products can be estimated."""

    rows: int
    widths: FloatArray  # (w, p), p is the number of rows padded to a multiple of LANES
    threads: int  # threads that share one product

    def estimate(self, queries: EncodedQueries) -> FloatArray:
        """Estimates (Q, p) without the offset; anything past the last row."""

    def bound(self, queries: EncodedQueries) -> tuple[DoubleArray, DoubleArray]:
        """Offsets (Q,) and slacks (Q, w)."""


class FloatRows:
    """Estimates by float32 matmul of the rows themselves.

    Proof: in whatever order it adds, fused or not, a float32 sum of D products errs by at most D u / (1 - D u) |x| |y|
    with u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Rounding y to float32 adds
    u |x| |y|, and underflow adds less than SMALLEST_WIDTH times the slack.

    - `matrix`: rows (n, D) float32, not copied.
    - `norms`: upper bounds (n,) of their norms, see `row_norms`.
    """

    def __init__(self, matrix: FloatArray, norms: DoubleArray) -> None:
        self._matrix = matrix
        self.threads = 1
        self.rows, dim = matrix.shape
        self.widths = _padded_ones(1, self.rows)
        self.widths[0, : self.rows] = (norms + SMALLEST_WIDTH) * (1 + 2 * UNIT_ROUNDOFF)
        self._error = 1.1 * (dim + 4) * UNIT_ROUNDOFF if can_estimate(matrix, norms) else math.inf

    def estimate(self, queries: EncodedQueries) -> FloatArray:
        """See Part."""
        values = np.zeros((len(queries.scaled), self.widths.shape[1]), np.float32)
        if not math.isinf(self._error):
            values[:, : self.rows] = inner_products(queries.scaled.astype(np.float32), self._matrix)
        return values

    def bound(self, queries: EncodedQueries) -> tuple[DoubleArray, DoubleArray]:
        """See Part."""
        slacks = self._error * queries.slacks[:, :1]
        return np.zeros(len(slacks)), slacks


class Int8Rows:
    """Estimates by an int8 copy: each row less the mean of the part, in levels from -91 to 91 of the row's own step.

    Proof: row x = m + s q + e with mean m, step s and int8 q; query y = p + f with its digits p and rest f. Then
    x · y = m · y + s q · p + s q · f + e · y, so that m · y + s q · p is off by at most |e| |y| + |s q| |f|, by Cauchy
    and Schwarz. m · y is the offset, q · p is summed in integers, |e| and |s q| are the widths, |y| and |f| the slacks.
    f includes the roundings of s q · high and s q · low, |e| those that `quantise` names.

    - `matrix`: rows (n, D) float32, only read.
    - `norms`: upper bounds (n,) of their norms, see `row_norms`.
    - `threads`: threads that share one product.
    """

    def __init__(self, matrix: FloatArray, norms: DoubleArray, threads: int) -> None:
        self.rows, dim = matrix.shape
        self.threads = threads
        self._matmul: Int8MatMul | None = None
        self.widths = _padded_ones(2, self.rows)
        self._mean = np.zeros(dim)
        if not can_estimate(matrix, norms):
            return
        centre = centre_of(matrix)
        self._mean = centre.astype(np.float64)
        steps = _padded_ones(1, self.rows)[0]
        weights = np.zeros((dim, len(steps)), np.int8)
        for strip in strips(self.rows):
            levels, steps[strip], rest_norms, level_norms = quantise(matrix[strip] - centre, smallest_step(norms))
            weights[:, strip] = levels.T
            np.multiply(rest_norms, steps[strip], out=self.widths[0, strip])
            np.multiply(level_norms, steps[strip], out=self.widths[1, strip])
        self._matmul = Int8MatMul(weights, steps, zero=ZERO_POINT, threads=threads)

    def estimate(self, queries: EncodedQueries) -> FloatArray:
        """See Part."""
        shape = len(queries.scaled), self.widths.shape[1]
        if self._matmul is None:
            return np.zeros(shape, np.float32)
        values, *lower_digits = self._matmul(queries.digits).reshape(-1, *shape)
        for digit_values in lower_digits:
            values *= np.float32(DIGIT_BASE)
            values += digit_values
        return values

    def bound(self, queries: EncodedQueries) -> tuple[DoubleArray, DoubleArray]:
        """See Part."""
        slacks = np.full_like(queries.slacks, math.inf) if self._matmul is None else queries.slacks
        with calls:
            return queries.scaled @ self._mean, slacks


def inner_products(queries: FloatArray, rows: FloatArray) -> FloatArray:
    """Inner products (Q, n) float32 of queries (Q, D) with rows (n, D).

    One query with few rows is multiplied with each row singly: a larger product OpenBLAS would share between threads
    that then stay awake (docs/design-notes/runtime.md), on cores that the next query's towers need.
    """
    products: FloatArray
    if len(queries) == 1 and rows.size <= LARGEST_UNSHARED:
        products = np.matmul(rows[:, None, :], queries[0][:, None])[:, :, 0].T
    else:
        with calls:
            products = queries @ rows.T
    return products


def row_norms(matrix: FloatArray, start: int = 0) -> DoubleArray:
    """Upper bounds (n,) of the norms of rows (n, D) float32.

    Raises InputError where a number is not finite; it names the row, counted from `start`.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
    least, most = TRUSTED_SQUARES
    doubtful = np.flatnonzero(~((squares > least) & (squares < most)))
    for rows in np.split(doubtful, range(ROWS_AT_A_TIME, len(doubtful), ROWS_AT_A_TIME)):
        doubles = matrix[rows].astype(np.float64)
        squares[rows] = np.einsum("ij,ij->i", doubles, doubles)
    if not np.isfinite(squares).all():
        row = int(np.flatnonzero(~np.isfinite(squares))[0])
        raise InputError(f"matrix: expected finite numbers, found NaN or infinity in row {start + row}")
    norms: DoubleArray = np.sqrt(squares) * (1 + (matrix.shape[1] + 4) * UNIT_ROUNDOFF)
    return norms


def _padded_ones(count: int, rows: int) -> FloatArray:
    """Ones (count, p), p the number of rows padded to a multiple of LANES."""
    return np.ones((count, -(-rows // LANES) * LANES), np.float32)
