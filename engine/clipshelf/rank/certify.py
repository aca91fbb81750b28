"""From estimates with proven bounds to the exact best rows.

The score of row x for query y is defined here, once, for every precision: their dot product in float64, rounded to
float32. Each row is a dot product of its own, so that no batch, matrix product or number of threads changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.rank.estimate import LANES, DoubleArray, Mask
from clipshelf.types import FloatArray, Rows

Score: TypeAlias = Callable[[Rows], FloatArray]  # scores (n,) of rows (n,) for one query

_STRIP = 1024  # rows that are scored at a time
_COLUMNS = 8192  # numbers that are summed at a time: longer dot products, OpenBLAS may share between threads
_LARGEST = float(np.finfo(np.float32).max)
_FEW, _TIMES = 256, 8  # rows, and so many times k, of which more are worth dropping before they are scored or sorted
_SHORT = 2**16  # values that take less time to look through than peaks and their runs
_SPARE = 0.06  # of the bound: estimates err by a few hundredths of it, so that rows are looked for once


def scores_of(fetch: Callable[[Rows], FloatArray], query: DoubleArray, places: Rows) -> FloatArray:
    """Scores (n,) of the rows at n places for a query (D,); `fetch` reads rows (m, D). May overflow to infinity."""
    column = query[:, None]
    if len(places) <= _STRIP:
        return _dots(fetch(places), column).astype(np.float32)
    scores = np.empty(len(places), np.float32)
    for start in range(0, len(places), _STRIP):
        strip = slice(start, start + _STRIP)
        scores[strip] = _dots(fetch(places[strip]), column)
    return scores


def _dots(rows: FloatArray, column: DoubleArray) -> DoubleArray:
    """Dot products (n,) of rows (n, D) with a column (D, 1); NumPy hands a stack of (1, D) to BLAS singly."""
    stack = rows.astype(np.float64)[:, None, :]
    sums: DoubleArray = np.matmul(stack[..., :_COLUMNS], column[:_COLUMNS])
    for start in range(_COLUMNS, rows.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        sums += np.matmul(stack[..., part], column[part])
    return sums[:, 0, 0]


@dataclass
class Estimates:
    """What the scan of one part found for Q queries: for row i of the part, in the unit of query q,

        | x · y  -  (offsets[q] + values[q, i]) |  <=  slacks[q] · widths[:, i]  <=  reaches[q]

    A row that is hidden has the value -inf. Peak j is the largest value of the run of rows j, j + b, j + 2 b and so on:
    NumPy finds the largest of many at once faster than those of many short runs.
    """

    values: FloatArray  # (Q, p)
    peaks: FloatArray  # (Q, b)
    offsets: list[float]  # (Q,)
    slacks: DoubleArray  # (Q, w)
    reaches: list[float]  # (Q,)
    widths: FloatArray  # (w, p)
    start: int  # the first row

    def rows_reaching(self, query: int, level: float) -> Rows:
        """Numbers (n,) in the part, ascending, of the rows whose x · y may reach the level by the bound of each."""
        # by the bound of the widest row, which drops none that its own would keep; finite, as hidden rows have -inf
        floor = min(max(_lowered(level - self.offsets[query] - self.reaches[query]), -_LARGEST), _LARGEST)
        rows = self._rows_from(query, floor)
        # einsum, since OpenBLAS would share long sums between threads that stay awake
        widths = np.einsum("w,wn->n", self.slacks[query], self.widths.take(rows, axis=1))
        most = widths + self.values[query].take(rows)
        reaching: Rows = rows[most >= _lowered(level - self.offsets[query])]
        return reaching

    def _rows_from(self, query: int, floor: float) -> Rows:
        """Numbers (n,) in the part, ascending, of the rows whose values are not below the floor."""
        values = self.values[query]
        if len(values) <= _SHORT:
            return _places(values >= floor)
        columns = _places(self.peaks[query] >= floor)
        lanes, nth = (values.reshape(LANES, -1)[:, columns] >= floor).nonzero()
        rows: Rows = lanes * self.peaks.shape[1] + columns[nth]
        return rows

    def estimated(self, query: int, rows: Rows) -> DoubleArray:
        """Estimates (n,) of x · y for some rows of the part."""
        estimated: DoubleArray = self.values[query, rows] + np.float64(self.offsets[query])
        return estimated


def best_rows(
    estimates: Sequence[Estimates], query: int, unit: float, k: int, *, limit: int, score: Score
) -> tuple[FloatArray, Rows] | None:
    """Scores and rows (k,) of one query, best first and ties by lower row: exact; None if over `limit` may be of them.

    Proof: let t be a number that at least k rows score. A row whose x · y is proven to be below the next float32 number
    under t rounds to a score below t: it is none of the best k, nor tied with them. All other rows are scored, and the
    best of these are the best of all. The lowest of the k best scores of any rows is such a t.
    """
    level = _likely(estimates, query, k) - _SPARE * max(each.reaches[query] for each in estimates)
    found = [each.rows_reaching(query, level) for each in estimates]
    rows = _joined(estimates, found)
    many = _FEW + _TIMES * k
    if len(rows) > many:  # k of them must do to find t
        values = [each.estimated(query, own) for each, own in zip(estimates, found, strict=True)]
        rows = rows[np.argpartition(np.concatenate(values), len(rows) - k)[len(rows) - k :]]
        level = math.inf
    scores = score(rows)
    proven = _lowered(min(_kth(scores, k), _LARGEST)) / unit
    if proven < level:
        rows = _joined(estimates, [each.rows_reaching(query, proven) for each in estimates])
        if len(rows) > limit:
            return None
        scores = score(rows)
    return top(scores, rows, k)


def _likely(estimates: Sequence[Estimates], query: int, k: int) -> float:
    """What k rows are estimated to reach and hardly any more; -inf, which all reach, where there are no k peaks."""
    if len(estimates) == 1:
        return _kth(estimates[0].peaks[query], k) + estimates[0].offsets[query]
    return _kth(np.concatenate([each.peaks[query] + each.offsets[query] for each in estimates]), k)


def _kth(numbers: npt.NDArray[np.floating[Any]], k: int) -> float:
    """The k-th highest of some numbers (n,), -inf where there are fewer."""
    place = len(numbers) - k
    return float(np.partition(numbers, place)[place]) if place >= 0 else -math.inf


def _places(mask: Mask) -> Rows:
    """Where a mask (n,) is True."""
    places: Rows = mask.nonzero()[0]
    return places


def _joined(estimates: Sequence[Estimates], found: Sequence[Rows]) -> Rows:
    """Rows, ascending, of numbers in the parts."""
    rows = [own + each.start if each.start else own for each, own in zip(estimates, found, strict=True)]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _lowered(number: float) -> float:
    """Not above the float32 number next below a number, nor above the number itself when rounded to float32."""
    return number - abs(number) * 2.0**-22 - 2.0**-148


def top(scores: FloatArray, rows: Rows, k: int) -> tuple[FloatArray, Rows]:
    """The k best of scored rows, which ascend, best first and ties by lower row."""
    if len(scores) > _FEW + _TIMES * k:
        kept = scores >= _kth(scores, k)
        scores, rows = scores[kept], rows[kept]
    order = (-scores).argsort(kind="stable")[:k]
    return scores[order], rows[order]
