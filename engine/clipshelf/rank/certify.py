"""From estimates with proven bounds to the exact best rows.

The score of row x for query y is defined here, once, for every precision: their dot product in float64, rounded to
float32. Each row is a dot product of its own, so that no batch, matrix product or number of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.rank.estimate import LANES, DoubleArray, Mask
from clipshelf.types import FloatArray, Rows

# Scores (n,) of rows (n,), each for its own query (n,): their numbers.
Score: TypeAlias = Callable[[Rows, Rows], FloatArray]

_STRIP = 1024  # rows that are scored at a time
_COLUMNS = 8192  # numbers that are summed at a time: longer dot products, OpenBLAS may share between threads
_LARGEST = float(np.finfo(np.float64).max)
_PLENTY = 64  # rows beyond 4 k that are worth dropping before they are sorted
_RUNS = 2**14  # runs of rows that are looked into at a time: a bound of what lies between, where ties are many


def scores_of(fetch: Callable[[Rows], FloatArray], queries: DoubleArray, lines: Rows, places: Rows) -> FloatArray:
    """Scores (n,) of the rows at n places, each for the query (Q, D) in its line; `fetch` reads rows (m, D)."""
    scores = np.empty(len(places), np.float32)
    columns = queries[:, :, None]
    with np.errstate(over="ignore", under="ignore"):
        for start in range(0, len(places), _STRIP):
            strip = slice(start, start + _STRIP)
            own = columns if len(queries) == 1 else columns[lines[strip]]
            scores[strip] = _dots(fetch(places[strip]).astype(np.float64), own)
    return scores


def _dots(rows: DoubleArray, columns: DoubleArray) -> DoubleArray:
    """Dot products (n,) of rows (n, D) with columns (n or 1, D, 1); NumPy hands a stack of (1, D) to BLAS singly."""
    stack = rows[:, None, :]
    sums: DoubleArray = np.matmul(stack[..., :_COLUMNS], columns[:, :_COLUMNS])
    for start in range(_COLUMNS, rows.shape[1], _COLUMNS):
        part = slice(start, start + _COLUMNS)
        sums += np.matmul(stack[..., part], columns[:, part])
    return sums[:, 0, 0]


@dataclass
class Estimates:
    """What the scan of one part found for Q queries: for row i of the part, in the unit of query q,

        | x · y  -  (offsets[q] + values[q, i]) |  <=  slacks[q] · widths[:, i]  <=  slacks[q] · widest

    A row that is hidden has the value -inf. Peak j is the largest value of the run of rows j, j + b, j + 2 b and so on:
    NumPy finds the largest of many at once faster than those of many short runs.
    """

    values: FloatArray  # (Q, p)
    peaks: FloatArray  # (Q, b)
    offsets: DoubleArray  # (Q,)
    slacks: DoubleArray  # (Q, w)
    widths: FloatArray  # (w, p)
    widest: DoubleArray  # (w,)
    start: int  # the first row

    def lowest(self, thresholds: DoubleArray) -> FloatArray:
        """Values (Q,) below which no row's x · y reaches the query's threshold (Q,)."""
        return _below(thresholds - self.offsets - self.slacks @ self.widest)

    def possible(self, thresholds: DoubleArray, lowest: FloatArray, near: Mask, some: slice) -> tuple[Rows, Rows]:
        """Queries (n,), ascending, and their rows (n,) whose x · y may reach the threshold, for some of the queries.

        Every other row is proven to be below it. `near` (Q, b) says which peaks are not below `lowest` (Q,).
        """
        lines, columns = near[some].nonzero()
        lines += some.start
        runs = self._runs(lines, columns)
        nth, lanes = (runs >= lowest[lines, None]).nonzero()
        lines, rows = lines[nth], lanes * self.peaks.shape[1] + columns[nth]
        most = np.einsum("nw,wn->n", self.slacks[lines], self.widths[:, rows]) + runs[nth, lanes]
        reach = (most >= (thresholds - self.offsets)[lines]).nonzero()[0]
        return lines[reach], rows[reach] + self.start

    def likeliest(self, k: int) -> tuple[DoubleArray, Rows]:
        """The highest values (Q, c) and their rows (Q, c), k of them or all: they are under the k highest peaks."""
        lines = np.arange(len(self.peaks))[:, None]
        columns = _highest(self.peaks, k)
        values = self._runs(lines, columns).reshape(len(lines), -1)
        best = _highest(values, k)
        nth, lanes = np.divmod(best, LANES)
        rows = lanes * self.peaks.shape[1] + columns[lines, nth] + self.start
        return values[lines, best] + self.offsets[:, None], rows

    def _runs(self, lines: Rows, columns: Rows) -> FloatArray:
        """Values (..., LANES) of some runs, by query and peak (...,)."""
        runs: FloatArray = self.values.reshape(len(self.peaks), LANES, -1)[lines, :, columns]
        return runs


def best_rows(
    estimates: Sequence[Estimates], units: DoubleArray, k: int, limit: int, score: Score
) -> Iterator[tuple[int, FloatArray, Rows]]:
    """For each query its number, scores and rows (k,), best first and ties by lower row: exact.

    Queries for which more than `limit` rows would be scored are left out.

    Proof: let t be a number that at least k rows score. A row whose x · y is proven to be below the next float32 number
    under t rounds to a score below t: it is none of the best k, nor tied with them. All other rows are scored, and the
    best of these are the best of all. The lowest score of the k likeliest rows is such a t.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # -inf + inf: a hidden row, nan >= t is False
        guess = _likeliest(estimates, k)
        reached = score(np.arange(len(units)).repeat(k), guess.reshape(-1)).reshape(-1, k).min(axis=1)
        thresholds = _under(reached, units)
        lowest = [each.lowest(thresholds) for each in estimates]
        near = [each.peaks >= own[:, None] for each, own in zip(estimates, lowest, strict=True)]
    for some in _shares(sum(each.sum(axis=1) for each in near)):
        with np.errstate(invalid="ignore", over="ignore"):
            parts = zip(estimates, lowest, near, strict=True)
            found = [each.possible(thresholds, low, own, some) for each, low, own in parts]
        lines, rows = found[0] if len(found) == 1 else _merged(found)
        counts = np.bincount(lines - some.start, minlength=some.stop - some.start)
        few = counts <= limit
        kept = few[lines - some.start]
        lines, rows = lines[kept], rows[kept]
        scores, stop = score(lines, rows), 0
        for number in few.nonzero()[0].tolist():
            own = slice(stop, stop := stop + int(counts[number]))
            yield some.start + number, *top(scores[own], rows[own], k)


def _likeliest(estimates: Sequence[Estimates], k: int) -> Rows:
    """For each query the k rows (Q, k) with the highest estimates, in any order: a guess, nothing is proven of it."""
    found = [each.likeliest(k) for each in estimates]
    if len(found) == 1:
        return found[0][1]
    values, rows = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
    guess: Rows = rows[np.arange(len(rows))[:, None], _highest(values, k)]
    return guess


def _merged(found: Sequence[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    """Queries, ascending, and rows of several parts as one."""
    lines, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    order = lines.argsort(kind="stable")
    return lines[order], rows[order]


def _shares(loads: Rows) -> Iterator[slice]:
    """Queries in shares whose loads (Q,) add up to hardly more than _RUNS, or are one query."""
    edges = [0, *(np.diff(loads.cumsum() // _RUNS).nonzero()[0] + 1).tolist(), len(loads)]
    return map(slice, edges, edges[1:])


def _highest(values: npt.NDArray[np.floating[Any]], k: int) -> Rows:
    """Where the k highest of some values (Q, n) stand, in any order; all of them where there are fewer."""
    start = max(0, values.shape[1] - k)
    return np.argpartition(values, start, axis=1)[:, start:]


def _below(numbers: DoubleArray) -> FloatArray:
    """Float32 numbers below float64 ones."""
    below: FloatArray = np.nextafter(numbers.astype(np.float32), np.float32(-np.inf))
    return below


def _under(scores: FloatArray, units: DoubleArray) -> DoubleArray:
    """The float32 numbers next below scores, in the queries' units; finite, as hidden rows have -inf."""
    under: DoubleArray = np.maximum(np.nextafter(scores, np.float32(-np.inf)) / units, -_LARGEST)
    return under


def top(scores: FloatArray, rows: Rows, k: int) -> tuple[FloatArray, Rows]:
    """The k best of scored rows, best first and ties by lower row."""
    if len(scores) > 4 * k + _PLENTY:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        scores, rows = scores[kept], rows[kept]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]
