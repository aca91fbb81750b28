"""Cheap estimates of inner products, each with a proven bound on its error.

A part is a run of n rows (n, D), cut into b blocks of LANES rows. Its `scan` estimates the inner products of Q queries
with all its rows, reading them once. For the row in lane j of block i, with v the estimate,

    | x · y  -  (offset + v) |  <=  slack * widths[i, j]                                                      (bound)

where offset and slack belong to the query and the part, and y is in the query's own unit (see `Query`). Two kinds of
part keep that promise: `FloatRows` by NumPy's matmul, `Int8Rows` by a quantised copy a quarter of the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clipshelf.errors import InputError
from clipshelf.session import ScaledProduct
from clipshelf.types import FloatArray

DoubleArray = npt.NDArray[np.float64]
Digits = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

LANES = 128
ROUND = 2.0**-24  # relative error of one rounding to float32
TINY = 2.0**-100  # widths stay above it, so that underflow (below 2**-126) hides in the slack
HUGE = 1e30  # rows longer than this could overflow float32: they are not estimated, their slack is infinite
_LEVELS = 127
_ZERO = 64  # digits are -64 to 64, stored from 0: two products 128 * 127 fit the 16 bits that CPUs without VNNI add in
_BASE = 128
_QUERY_BITS = 13
_STRIP = 256  # rows that are quantised at a time, so that what lies between stays in the cache


@dataclass
class Query:
    """One query in a unit that is a power of two: `query = unit * exact` with max |exact| in [4096, 8192)."""

    unit: float
    exact: DoubleArray  # (D,)
    norm: float  # of exact
    rest: float  # at least the norm of what digits leave of exact, and what rounding their products may add


def encode(queries: FloatArray) -> tuple[list[Query], Digits]:
    """Queries (Q, D), and each as two digits of 7 bits, `exact = 128 * high + low + rest`: all high, then all low."""
    count, dim = queries.shape
    digits = np.empty((2, count, dim), np.uint8)
    encoded = []
    for number, query in enumerate(queries):
        unit = math.ldexp(1.0, math.frexp(float(np.abs(query).max(initial=0)))[1] - _QUERY_BITS)
        exact = query / np.float64(unit)
        levels = (exact + (_BASE * _ZERO + _ZERO + 0.5)).astype(np.uint16)  # rounds, as all are positive
        np.right_shift(levels, 7, out=digits[0, number], casting="unsafe")
        np.bitwise_and(levels, _BASE - 1, out=digits[1, number], casting="unsafe")
        norm = math.sqrt(exact.dot(exact)) * (1 + 2.0**-30)
        rest = 0.5 * math.sqrt(dim) + 4 * ROUND * (norm + _BASE * math.sqrt(dim))
        encoded.append(Query(unit, exact, norm, rest))
    return encoded, digits.reshape(2 * count, dim)


class Part(Protocol):
    """A run of rows that can be estimated."""

    rows: int
    widths: FloatArray  # (b, LANES)

    def scan(self, queries: Sequence[Query], digits: Digits, out: FloatArray) -> None:
        """Fill `out` (Q, b, LANES) with estimates; past the last row with anything."""

    def bound(self, query: Query) -> tuple[float, float]:
        """Offset and slack."""


class FloatRows:
    """Estimates by float32 matmul of the rows themselves.

    Proof: in whatever order it adds, fused or not, a float32 sum of D products errs by at most D u / (1 - D u) |x| |y|
    with u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Rounding y to float32 adds
    u |x| |y|, and underflow less than TINY times the slack.
    """

    def __init__(self, matrix: FloatArray, norms: DoubleArray) -> None:
        self._matrix = matrix
        self.rows, dim = matrix.shape
        self.widths = _blocks(norms + TINY)
        self._error = 1.1 * (dim + 4) * ROUND if _estimable(matrix, norms) else math.inf

    def scan(self, queries: Sequence[Query], digits: Digits, out: FloatArray) -> None:  # noqa: ARG002
        """See Part."""
        if math.isinf(self._error):
            out[:] = 0
            return
        product = np.array([query.exact for query in queries], np.float32) @ self._matrix.T
        for line, values in zip(out, product, strict=True):
            line.reshape(-1)[: self.rows] = values

    def bound(self, query: Query) -> tuple[float, float]:
        """See Part."""
        return 0.0, self._error * max(query.norm, 1.0)


class Int8Rows:
    """Estimates by an int8 copy: each row less the mean of the part, in 127 steps either side, one step size per row.

    Proof: row x = m + s q + e with mean m, step s and int8 q; query y = p + f with its digits p and rest f. Then
    x · y = m · y + s q · p + s q · f + e · y, so that m · y + s q · p is off by at most s (|q| |f| + |e|/s |y|), by
    Cauchy and Schwarz. m · y is the offset, q · p is summed in integers, s is the width. The slack takes the largest
    |q| and |e|/s of the part; f includes the roundings of s q · high and s q · low, |e|/s what `_quantise` says.
    """

    def __init__(self, matrix: FloatArray, norms: DoubleArray, threads: int) -> None:
        self.rows, dim = matrix.shape
        self._product: ScaledProduct | None = None
        self.widths = _blocks(np.ones(self.rows))
        self._mean = np.zeros(dim)
        self._error, self._length = math.inf, 0.0
        if not _estimable(matrix, norms):
            return
        center = _center(matrix)
        self._mean = center.astype(np.float64)
        weights = np.zeros((dim, self.widths.size), np.int8)
        steps = self.widths.reshape(-1)
        floor = max(TINY, float(norms.max(initial=0)) * 2.0**-30)
        for start in range(0, self.rows, _STRIP):
            strip = slice(start, min(start + _STRIP, self.rows))
            error, length = _quantise(matrix[strip] - center, floor, weights[:, strip], steps[strip])
            self._error = error if start == 0 else max(self._error, error)
            self._length = max(self._length, length)
        self._product = ScaledProduct(weights, steps, zero=_ZERO, threads=threads)

    def scan(self, queries: Sequence[Query], digits: Digits, out: FloatArray) -> None:  # noqa: ARG002
        """See Part."""
        if self._product is None:
            out[:] = 0
            return
        high, low = self._product(digits).reshape(2, *out.shape)
        np.multiply(high, np.float32(_BASE), out=out)
        out += low

    def bound(self, query: Query) -> tuple[float, float]:
        """See Part."""
        slack = self._error * max(query.norm, 1.0) + self._length * query.rest
        return float(query.exact.dot(self._mean)), slack


def row_norms(matrix: FloatArray, start: int = 0) -> DoubleArray:
    """Upper bounds (n,) of the norms of rows (n, D). Raises InputError where one is not finite; counts from `start`."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix).astype(np.float64)
    doubtful = np.flatnonzero(~((squares > TINY) & (squares < HUGE)))
    for some in np.split(doubtful, range(_STRIP, len(doubtful), _STRIP)):
        exact = matrix[some].astype(np.float64)
        squares[some] = np.einsum("ij,ij->i", exact, exact)
    if not np.isfinite(squares).all():
        row = int(np.flatnonzero(~np.isfinite(squares))[0])
        raise InputError(f"matrix: expected finite numbers, found NaN or infinity in row {start + row}")
    norms: DoubleArray = np.sqrt(squares) * (1 + (matrix.shape[1] + 4) * ROUND)
    return norms


def _estimable(matrix: FloatArray, norms: DoubleArray) -> bool:
    """Whether no product of these rows can overflow float32, nor a sum of digits int32."""
    return bool(norms.max(initial=0) < HUGE) and 0 < matrix.shape[1] <= 2**16


def _norms(rows: DoubleArray) -> DoubleArray:
    norms: DoubleArray = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return norms


def _blocks(values: DoubleArray) -> FloatArray:
    """(n,) as float32 not below it, in blocks of LANES, the last one filled up with ones."""
    blocks = np.ones((-(-len(values) // LANES), LANES), np.float32)
    blocks.reshape(-1)[: len(values)] = values * (1 + 2 * ROUND)
    return blocks


def _center(matrix: FloatArray) -> FloatArray:
    """The mean row (D,), or zero where taking it away would make the middle one of a sample of rows longer.

    Embeddings share a large mean (two CLIP pictures are 0.8 alike); a row of giant norm could spoil it for all others.
    """
    mean: FloatArray = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample = matrix[:: len(matrix) // 1024 + 1].astype(np.float64)
    better = np.median(_norms(sample - mean)) < np.median(_norms(sample))
    return mean if better else np.zeros_like(mean)


def _quantise(rows: FloatArray, floor: float, weights: npt.NDArray[np.int8], steps: FloatArray) -> tuple[float, float]:
    """Fill `weights` (D, n) and `steps` (n,) from the centred rows (n, D); the largest |e|/s and the largest |q|.

    Small errors are added to |e|/s. Rounding x - m and its quotient by s: at most 2 u 128 sqrt(D) = sqrt(D) 2**-16. A
    step is at least 2**-30 of the longest row |x|, so that offset and final score, each a sum in float64 with an error
    below D 2**-53 |x| |y|, add at most D 2**-22.
    """
    np.maximum(np.abs(rows).max(axis=1) * np.float32(1 / _LEVELS), np.float32(floor), out=steps)
    levels = rows / steps[:, None]
    quantised = np.rint(levels)
    weights[:] = quantised.T
    levels -= quantised
    error = np.sqrt(np.einsum("ij,ij->i", levels, levels).max(initial=0))
    length = np.sqrt(np.einsum("ij,ij->i", quantised, quantised).max(initial=0))
    dim = rows.shape[1]
    small = np.sqrt(dim) * 2.0**-15 + (dim + 4) * 2.0**-22
    return float(error) * (1 + dim * ROUND) + float(small), float(length) * (1 + dim * ROUND)
