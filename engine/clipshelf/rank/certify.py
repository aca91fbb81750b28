"""From estimates with proven bounds to the exact best rows.

The score of row x for query y is defined here, once, for every precision: their dot product in float64, rounded to
float32. Each row is a dot product of its own, so that no batch, matrix product or number of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf.rank.estimate import DoubleArray
from clipshelf.types import FloatArray, Rows

_STRIP = 1024  # rows that are scored at a time
_COLUMNS = 8192  # numbers that are summed at a time: longer dot products, OpenBLAS may share between threads
_LARGEST = float(np.finfo(np.float64).max)
_PLENTY = 64  # rows beyond 4 k that are worth dropping before they are sorted


def scores_of(fetch: Callable[[Rows], FloatArray], query: DoubleArray, places: Rows) -> FloatArray:
    """Scores (n,) of the rows at n places for one query (D,); `fetch` reads rows (m, D), a strip at a time."""
    scores = np.empty(len(places), np.float32)
    column = query[:, None]
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
        lowest = _below(threshold - float(self.slacks.dot(self.widest)))
        columns = (self.peaks >= lowest).nonzero()[0]
        runs = self._runs(columns)
        near = (runs >= lowest).reshape(-1).nonzero()[0]
        rows = self._rows(columns, near)
        most = self.slacks.dot(self.widths.take(rows, axis=1)) + runs.reshape(-1).take(near)
        found: Rows = rows[most >= threshold] + self.start
        return found

    def likeliest(self, k: int) -> tuple[FloatArray, Rows]:
        """The highest values and their rows, k of them or all: they are under the k highest peaks."""
        columns = _highest(self.peaks, k)
        values = self._runs(columns).reshape(-1)
        best = _highest(values, k)
        return values.take(best), self._rows(columns, best) + self.start

    def _runs(self, columns: Rows) -> FloatArray:
        """Values (LANES, c) under some peaks (c,)."""
        return self.values.reshape(-1, len(self.peaks)).take(columns, axis=1)

    def _rows(self, columns: Rows, places: Rows) -> Rows:
        """Rows of the part, by their places among the values under some peaks."""
        lanes, nth = np.divmod(places, len(columns) or 1)
        lanes *= len(self.peaks)
        lanes += columns.take(nth)
        return lanes


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
        possible = [each.possible(threshold) for each in estimates]
    rows = possible[0] if len(possible) == 1 else np.concatenate(possible)
    return None if len(rows) > limit else top(score(rows), rows, k)


def _likeliest(estimates: Sequence[Estimates], k: int) -> Rows:
    """The k rows with the highest estimates, in any order: a guess, nothing is proven about it."""
    found = [each.likeliest(k) for each in estimates]
    if len(found) == 1:
        return found[0][1]
    values = np.concatenate([each.offset + own for each, (own, _) in zip(estimates, found, strict=True)])
    return np.concatenate([rows for _, rows in found])[_highest(values, k)]


def _highest(values: npt.NDArray[np.floating[Any]], k: int) -> Rows:
    """Where the k highest of some values (n,) stand, in any order; all of them where there are fewer."""
    start = max(0, len(values) - k)
    return np.argpartition(values, start)[start:]


def _below(number: float) -> float:
    """A float32 number below a float64 one."""
    return float(np.nextafter(np.float32(number), np.float32(-np.inf)))


def _under(score: float, unit: float) -> float:
    """The float32 number next below a score, in a query's unit; finite, as hidden rows have -inf."""
    return max(_below(score) / unit, -_LARGEST)


def top(scores: FloatArray, rows: Rows, k: int) -> tuple[FloatArray, Rows]:
    """The k best of scored rows, best first and ties by lower row."""
    if len(scores) > 4 * k + _PLENTY:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        scores, rows = scores[kept], rows[kept]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]
