"""From estimates with proven bounds to the exact best rows.

The score of row x for query y is defined here, once, for every precision: their dot product in float64, rounded to
float32. Each row is a dot product of its own, so that no batch, matrix product or number of threads changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from clipshelf.rank.bounds import LANES
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

Score: TypeAlias = Callable[[int, Rows], FloatArray]  # scores (n,) of rows (n,) for one query
_Number = TypeVar("_Number", float, DoubleArray)

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
        """The rows (n,), ascending, whose x · y may reach the level by the bound of each."""
        # by the bound of the widest row, which drops none that its own would keep; finite, as hidden rows have -inf
        floor = min(max(_lowered(level - self.offsets[query] - self.reaches[query]), -_LARGEST), _LARGEST)
        rows = self._rows_from(query, floor)
        # einsum, since OpenBLAS would share long sums between threads that stay awake
        most = np.einsum("w,wn->n", self.slacks[query], self.widths.take(rows, axis=1))
        most += self.values[query].take(rows)
        return self._numbered(rows[most >= _lowered(level - self.offsets[query])])

    def rows_reaching_each(self, levels: Sequence[float]) -> list[Rows]:
        """`rows_reaching` of every query with its level."""
        count, width = self.values.shape
        if count > 1 and width <= _SHORT:
            margins = np.array(levels) - self.offsets
            floors = np.clip(_lowered(margins - self.reaches), -_LARGEST, _LARGEST).astype(np.float32)
            places = _places((self.values >= floors[:, None]).reshape(-1))
            if len(places) <= width:  # more at once would take much memory
                lines, rows = np.divmod(places, width)
                most = np.einsum("nw,wn->n", self.slacks[lines], self.widths.take(rows, axis=1))
                most += self.values.take(places)
                kept = most >= _lowered(margins)[lines]
                return np.split(self._numbered(rows[kept]), lines[kept].searchsorted(np.arange(1, count)))
        return list(map(self.rows_reaching, range(count), levels))

    def _rows_from(self, query: int, floor: float) -> Rows:
        """Numbers (n,) in the part, ascending, of the rows whose values are not below the floor."""
        values = self.values[query]
        if len(values) <= _SHORT:
            return _places(values >= floor)
        columns = _places(self.peaks[query] >= floor)
        lanes, nth = (values.reshape(LANES, -1)[:, columns] >= floor).nonzero()
        rows: Rows = lanes * self.peaks.shape[1] + columns[nth]
        return rows

    def _numbered(self, rows: Rows) -> Rows:
        """Numbers in the matrix of rows of the part."""
        return rows + self.start if self.start else rows

    def estimated(self, query: int, rows: Rows) -> DoubleArray:
        """Estimates (n,) of x · y for some rows."""
        estimated: DoubleArray = self.values[query, rows - self.start] + np.float64(self.offsets[query])
        return estimated


def best_rows(
    estimates: Sequence[Estimates], units: Sequence[float], k: int, *, limit: int, score: Score
) -> Iterator[tuple[FloatArray, Rows] | None]:
    """Scores and rows (k,) of each query, best first and ties by lower row: exact; None if over `limit` may be of them.

    Proof: let t be a number that at least k rows score. A row whose x · y is proven to be below the next float32 number
    under t rounds to a score below t: it is none of the best k, nor tied with them. All other rows are scored, and the
    best of these are the best of all. The lowest of the k best scores of any rows is such a t.
    """
    reaches = map(max, zip(*(each.reaches for each in estimates), strict=True))
    levels = [likely - _SPARE * reach for likely, reach in zip(_likely(estimates, k), reaches, strict=True)]
    found = zip(*(each.rows_reaching_each(levels) for each in estimates), strict=True)
    for query, (unit, level, parts) in enumerate(zip(units, levels, found, strict=True)):
        rows = _joined(parts)
        many = len(rows) > _FEW + _TIMES * k
        if many:  # k of them must do to find t
            values = [each.estimated(query, own) for each, own in zip(estimates, parts, strict=True)]
            rows = rows[np.argpartition(np.concatenate(values), len(rows) - k)[len(rows) - k :]]
        scores = score(query, rows)
        proven = _lowered(min(_kth(scores, k), _LARGEST)) / unit
        if many or proven < level:
            rows = _joined([each.rows_reaching(query, proven) for each in estimates])
            if len(rows) > limit:
                yield None
                continue
            scores = score(query, rows)
        yield top(scores, rows, k)


def _likely(estimates: Sequence[Estimates], k: int) -> list[float]:
    """What k rows are estimated to reach for each query, and hardly any more; -inf, which all do, without k peaks."""
    parts = [each.peaks + np.array(each.offsets)[:, None] for each in estimates]
    peaks = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    place = peaks.shape[1] - k
    if place < 0:
        return [-math.inf] * len(peaks)
    peaks.partition(place, axis=1)
    likely: list[float] = peaks[:, place].tolist()
    return likely


def _kth(numbers: npt.NDArray[np.floating[Any]], k: int) -> float:
    """The k-th highest of some numbers (n,), -inf where there are fewer."""
    place = len(numbers) - k
    return float(np.partition(numbers, place)[place]) if place >= 0 else -math.inf


def _places(mask: Mask) -> Rows:
    """Where a mask (n,) is True."""
    places: Rows = mask.nonzero()[0]
    return places


def _joined(parts: Sequence[Rows]) -> Rows:
    """Rows, ascending, of those of the parts in turn."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _lowered(number: _Number) -> _Number:
    """Not above the float32 number next below a number, nor above the number itself when rounded to float32."""
    return number - abs(number) * 2.0**-22 - 2.0**-148


def top(scores: FloatArray, rows: Rows, k: int) -> tuple[FloatArray, Rows]:
    """The k best of scored rows, which ascend, best first and ties by lower row."""
    if len(scores) > _FEW + _TIMES * k:
        kept = scores >= _kth(scores, k)
        scores, rows = scores[kept], rows[kept]
    order = (-scores).argsort(kind="stable")[:k]
    return scores[order], rows[order]
