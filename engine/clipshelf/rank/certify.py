"""From estimates with proven bounds to the exact best rows.

The score of row x for query y is defined here, once, for every precision: their dot product in float64, rounded to
float32. Each row is a dot product of its own, so that no batch, matrix product or number of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from clipshelf.rank.estimate import DoubleArray
from clipshelf.types import FloatArray, Rows

_Number = TypeVar("_Number", np.float64, np.int64)

_STRIP = 1024  # rows that are scored at a time
_COLUMNS = 8192  # numbers that are summed at a time: longer dot products, OpenBLAS may share between threads
_PLENTY = 64  # rows beyond 4 k that are worth dropping before they are sorted


def scores_of(fetch: Callable[[Rows], FloatArray], places: Rows, query: FloatArray) -> FloatArray:
    """Scores (n,) of the rows at n places for one query (D,); `fetch` reads rows (m, D), a strip at a time."""
    scores = np.empty(len(places), np.float32)
    column = query.astype(np.float64)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        for start in range(0, len(places), _STRIP):
            strip = slice(start, start + _STRIP)
            scores[strip] = _dots(fetch(places[strip]).astype(np.float64), column)
    return scores


def _dots(rows: DoubleArray, column: DoubleArray) -> DoubleArray:
    """Dot products (n,) of rows (n, D) with a column (D, 1); NumPy hands a stack of (1, D) to BLAS one by one."""
    stack = rows[:, None, :]
    sums: DoubleArray = np.matmul(stack[..., :_COLUMNS], column[:_COLUMNS])
    for start in range(_COLUMNS, len(column), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        sums += np.matmul(stack[..., part], column[part])
    return sums[:, 0, 0]


@dataclass
class Estimates:
    """What the scan of one part found for one query: for row i of the part, in the query's unit,

        | x · y  -  (offset + values[i]) |  <=  slacks · widths[:, i]  <=  slacks · widest

    A row that is hidden has the value -inf. Peak j is the largest value of the rows j, j + b, j + 2 b and so on: NumPy
    finds the largest of many at once faster than those of many short runs.
    """

    values: FloatArray  # (p,)
    peaks: FloatArray  # (b,)
    offset: float
    slacks: DoubleArray  # (w,)
    widths: FloatArray  # (w, p)
    widest: DoubleArray  # (w,)
    start: int  # the first row

    def possible(self, threshold: float) -> Rows:
        """All rows whose x · y may reach the threshold, ascending; every other row is proven to be below it."""
        threshold -= self.offset
        lowest = np.nextafter(np.float32(threshold - self.slacks @ self.widest), np.float32(-np.inf))
        near = (self.values >= lowest).nonzero()[0]  # compared in float32, it is cheap
        most = self.slacks @ self.widths[:, near] + self.values[near]
        rows: Rows = near[most >= threshold] + self.start
        return rows

    def likeliest(self, k: int) -> tuple[DoubleArray, Rows]:
        """The highest estimates and their rows, k of them or all: they are under the k highest peaks."""
        peaks = _highest(self.peaks, k)
        rows = (np.arange(0, len(self.values), len(self.peaks))[:, None] + peaks).reshape(-1)
        rows = rows[_highest(self.values[rows], k)]
        return self.values[rows] + np.float64(self.offset), rows + self.start


def best_rows(
    estimates: Sequence[Estimates], unit: float, k: int, limit: int, score: Callable[[Rows], FloatArray]
) -> tuple[FloatArray, Rows] | None:
    """Scores and rows (k,), best first and ties by lower row: exact. None when more than `limit` rows would be scored.

    Proof: let t be a number that at least k rows score. A row whose x · y is proven to be below the next float32 number
    under t rounds to a score below t: it is none of the best k, nor tied with them. All other rows are scored, and the
    best of these are the best of all. The lowest score of the k likeliest rows is such a t.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # -inf + inf: a hidden row, nan >= t is False
        threshold = _under(score(_likeliest(estimates, k)).min(), unit)
        rows = _join([each.possible(threshold) for each in estimates])
    return None if len(rows) > limit else top(score(rows), rows, k)


def _likeliest(estimates: Sequence[Estimates], k: int) -> Rows:
    """The k rows with the highest estimates, in any order: a guess, nothing is proven about it."""
    values, rows = (_join(list(each)) for each in zip(*(each.likeliest(k) for each in estimates), strict=True))
    return rows[_highest(values, k)]


def _highest(values: npt.NDArray[np.floating[Any]], k: int) -> Rows:
    """Where the k highest of some values (n,) stand, in any order; all of them where there are fewer."""
    start = max(0, len(values) - k)
    return np.argpartition(values, start)[start:]


def _join(arrays: list[npt.NDArray[_Number]]) -> npt.NDArray[_Number]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _under(score: float, unit: float) -> float:
    """The float32 number next below a score, in a query's unit; finite, as hidden rows have -inf."""
    lower = float(np.nextafter(np.float32(score), np.float32(-np.inf))) / unit
    return max(lower, -float(np.finfo(np.float64).max))


def top(scores: FloatArray, rows: Rows, k: int) -> tuple[FloatArray, Rows]:
    """The k best of scored rows, best first and ties by lower row."""
    if len(scores) > 4 * k + _PLENTY:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        scores, rows = scores[kept], rows[kept]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]
