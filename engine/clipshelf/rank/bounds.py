"""Cheap estimates of inner products, each with a proven bound on its error.

A part is a run of rows (n, D). Its `scan` estimates the inner products of Q queries with all its rows, reading them
once. For row x, with v the estimate,

    | x · y  -  (offset + v) |  <=  slacks · widths of x                                                      (bound)

where offset and slacks belong to the query and the part, and y is in the query's own unit (see `Queries`). Two kinds of
part keep that promise: `FloatRows` by NumPy's matmul, `Int8Rows` by a quantised copy a quarter of the size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clipshelf.errors import InputError
from clipshelf.runtime.matmul import Int8MatMul
from clipshelf.types import DoubleArray, FloatArray

Digits = npt.NDArray[np.uint8]

LANES = 64  # a part is filled up to a multiple of it, so that its rows fall into as many equal runs
ROUND = 2.0**-24  # relative error of one rounding to float32
TINY = 2.0**-100  # widths stay above it, so that underflow (below 2**-126) hides in the slack
HUGE = 1e30  # rows longer than this could overflow float32: they are not estimated, their slack is infinite
_LEAST = 2.0**-149  # the least float32 number
# Rows have levels from -91 to 91 and digits from -90 to 90, stored from 0: two products 180 * 91 fit the 16 bits that
# CPUs without VNNI add in, and the errors of both, of which the bound is the sum, are alike.
_LEVELS, _ZERO = 91, 90
_BASE = 2 * _ZERO + 1
_ALONE = 2**21  # numbers in the rows up to which one query's products are worth no second thread
_STRIP = 256  # rows that are quantised at a time, so that what lies between stays in the cache


@dataclass
class Queries:
    """Q queries, each in a unit of its own: `query = unit * exact`, as float64 has it."""

    units: list[float]  # (Q,)
    exact: DoubleArray  # (Q, D)
    slacks: DoubleArray  # (Q, 2) at least the norms of exact, and of what digits leave of it and rounding them adds
    digits: Digits  # (places * Q, D)


def encode(queries: FloatArray, places: int = 2) -> Queries:
    """Queries (Q, D), each as one or two digits: all high ones, then all low ones.

    `exact = 181 * high + low + rest`, max |exact| 16290; or with one place, `exact = high + rest`, max |exact| 90.
    """
    half = _ZERO * _BASE ** (places - 1)
    units = np.divide(np.maximum.reduce(np.abs(queries), axis=1, initial=_LEAST), half, dtype=np.float64)
    exact, rests = both = np.empty((2, *queries.shape))
    np.divide(queries, units[:, None], out=exact)
    whole = np.rint(exact)
    np.subtract(exact, whole, out=rests)
    slacks = _norms(both).T + 5 * ROUND * (half + _BASE) * math.sqrt(queries.shape[1] + 1)
    whole += half + (places - 1) * _ZERO
    if places > 1:
        whole = np.concatenate(np.divmod(whole.astype(np.uint16), _BASE))
    return Queries(units.tolist(), exact, slacks, whole.astype(np.uint8))


class Part(Protocol):
    """A run of rows that can be estimated."""

    rows: int
    widths: FloatArray  # (w, p), p >= n filled up

    def scan(self, queries: Queries) -> FloatArray:
        """Estimates (Q, p), past the last row anything."""

    def bound(self, queries: Queries) -> tuple[DoubleArray, DoubleArray]:
        """Offsets (Q,) and slacks (Q, w)."""


class FloatRows:
    """Estimates by float32 matmul of the rows themselves.

    Proof: in whatever order it adds, fused or not, a float32 sum of D products errs by at most D u / (1 - D u) |x| |y|
    with u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Rounding y to float32 adds
    u |x| |y|, and underflow less than TINY times the slack.
    """

    def __init__(self, matrix: FloatArray, norms: DoubleArray) -> None:
        self._matrix = matrix
        self.rows, dim = matrix.shape
        self.widths = _filled(self.rows, 1)
        self.widths[0, : self.rows] = (norms + TINY) * (1 + 2 * ROUND)
        self._error = 1.1 * (dim + 4) * ROUND if _estimable(matrix, norms) else math.inf

    def scan(self, queries: Queries) -> FloatArray:
        """See Part."""
        values = np.zeros((len(queries.exact), self.widths.shape[1]), np.float32)
        if not math.isinf(self._error):
            values[:, : self.rows] = products(queries.exact.astype(np.float32), self._matrix)
        return values

    def bound(self, queries: Queries) -> tuple[DoubleArray, DoubleArray]:
        """See Part."""
        slacks = self._error * queries.slacks[:, :1]
        return np.zeros(len(slacks)), slacks


class Int8Rows:
    """Estimates by an int8 copy: each row less the mean of the part, in 91 steps either side, one step size per row.

    Proof: row x = m + s q + e with mean m, step s and int8 q; query y = p + f with its digits p and rest f. Then
    x · y = m · y + s q · p + s q · f + e · y, so that m · y + s q · p is off by at most |e| |y| + |s q| |f|, by Cauchy
    and Schwarz. m · y is the offset, q · p is summed in integers, |e| and |s q| are the widths, |y| and |f| the slacks.
    f includes the roundings of s q · high and s q · low, |e| what `_quantise` says.
    """

    def __init__(self, matrix: FloatArray, norms: DoubleArray, threads: int) -> None:
        self.rows, dim = matrix.shape
        self._product: Int8MatMul | None = None
        self.widths = _filled(self.rows, 2)
        self._mean = np.zeros(dim)
        if not _estimable(matrix, norms):
            return
        center = _center(matrix)
        self._mean = center.astype(np.float64)
        steps = _filled(self.rows, 1)[0]
        weights = np.zeros((dim, len(steps)), np.int8)
        floor = max(TINY, float(norms.max(initial=0)) * 2.0**-30)
        for start in range(0, self.rows, _STRIP):
            strip = slice(start, min(start + _STRIP, self.rows))
            _quantise(matrix[strip] - center, floor, weights[:, strip], steps[strip], self.widths[:, strip])
        self._product = Int8MatMul(weights, steps, zero=_ZERO, threads=threads)

    def scan(self, queries: Queries) -> FloatArray:
        """See Part."""
        shape = len(queries.exact), self.widths.shape[1]
        if self._product is None:
            return np.zeros(shape, np.float32)
        values, *lower = self._product(queries.digits).reshape(-1, *shape)
        for digit in lower:
            values *= np.float32(_BASE)
            values += digit
        return values

    def bound(self, queries: Queries) -> tuple[DoubleArray, DoubleArray]:
        """See Part."""
        slacks = np.full_like(queries.slacks, math.inf) if self._product is None else queries.slacks
        return queries.exact @ self._mean, slacks


def products(queries: FloatArray, rows: FloatArray) -> FloatArray:
    """Inner products (Q, n) of queries (Q, D) with rows (n, D), float32.

    One query's with few rows are dot products of their own: from some size on OpenBLAS would share them between threads
    that afterwards wait awake for more than 20 ms, on cores that the next query's towers need.
    """
    alone = len(queries) == 1 and rows.size <= _ALONE
    found: FloatArray = np.matmul(rows[:, None, :], queries[0][:, None])[:, :, 0].T if alone else queries @ rows.T
    return found


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
    """Norms (...) of rows (..., D)."""
    squares: DoubleArray = np.matmul(rows[..., None, :], rows[..., :, None])[..., 0, 0]
    return np.sqrt(squares, out=squares)


def _filled(rows: int, count: int) -> FloatArray:
    """Ones (count, p), p the number of rows filled up to a multiple of LANES."""
    return np.ones((count, -(-rows // LANES) * LANES), np.float32)


def _center(matrix: FloatArray) -> FloatArray:
    """The mean row (D,), or zero where taking it away would make the middle one of a sample of rows longer.

    Embeddings share a large mean (two CLIP pictures are 0.8 alike); a row of giant norm could spoil it for all others.
    """
    mean: FloatArray = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample = matrix[:: len(matrix) // 1024 + 1].astype(np.float64)
    better = np.median(_norms(sample - mean)) < np.median(_norms(sample))
    return mean if better else np.zeros_like(mean)


def _quantise(
    rows: FloatArray, floor: float, weights: npt.NDArray[np.int8], steps: FloatArray, widths: FloatArray
) -> None:
    """Fill `weights` (D, n), `steps` (n,) and `widths` (2, n), not below |e| and |s q|, from the centred rows (n, D).

    Small errors are added to |e|/s. Rounding x - m and its quotient by s: at most 2 u 128 sqrt(D) = sqrt(D) 2**-16. A
    step is at least 2**-30 of the longest row |x|, so that offset and final score, each a sum in float64 with an error
    below D 2**-53 |x| |y|, add at most D 2**-22.
    """
    np.maximum(np.abs(rows).max(axis=1) * np.float32(1 / _LEVELS), np.float32(floor), out=steps)
    levels = rows / steps[:, None]
    quantised = np.rint(levels)
    weights[:] = quantised.T
    levels -= quantised
    dim = rows.shape[1]
    small = math.sqrt(dim) * 2.0**-15 + (dim + 4) * 2.0**-22
    room = 1 + (dim + 8) * ROUND
    for width, part, more in zip(widths, (levels, quantised), (small, 0.0), strict=True):
        width[:] = (np.sqrt(np.einsum("ij,ij->i", part, part)) * room + more) * room * steps
