"""From estimates with proven bounds to the exact best rows.

The score of row x for query y is defined here, once, for every precision: their dot product in float64, plus the
offset of the row where a search has offsets, rounded to float32. Each row is a dot product of its own, so that no
batch, matrix product or number of threads changes a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from clipshelf.rank.bounds import LANES
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

Score: TypeAlias = Callable[[int, Rows], FloatArray]  # number of a query and slots (n,) -> scores (n,)
Number = TypeVar("Number", float, DoubleArray)

ROWS_AT_A_TIME = 1024  # rows that are scored at a time
COLUMNS_AT_A_TIME = 8192  # longer dot products, OpenBLAS may share between threads
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
# More candidates than this, and than this for each result, are reduced before they are scored or sorted.
PRUNE_ABOVE, PRUNE_ABOVE_PER_RESULT = 256, 8
# More estimates than this are searched by their peaks.
SEARCH_PEAKS_ABOVE = 2**16
# The share of the largest error by which the first level is lowered. Estimates are off by a few hundredths of their
# bound, so that nearly every query needs one search for candidates.
LEVEL_MARGIN = 0.06


def scores_of(
    fetch: Callable[[Rows], FloatArray], query: DoubleArray, slots: Rows, offsets: FloatArray | None = None
) -> FloatArray:
    """Scores (n,) float32 of the rows in slots (n,) for a query (D,); they may overflow to infinity.

    - `fetch`: returns the rows (m, D) in slots (m,).
    - `offsets`: what is added to the dot product of each slot.
    """
    scores = np.empty(len(slots), np.float32)
    for start in range(0, len(slots), ROWS_AT_A_TIME):
        strip = slots[start : start + ROWS_AT_A_TIME]
        added = None if offsets is None else offsets.take(strip)
        scores[start : start + len(strip)] = _exact_sums(fetch(strip).astype(np.float64), query, added)
    return scores


def _exact_sums(rows: DoubleArray, query: DoubleArray, offsets: FloatArray | None) -> DoubleArray:
    """Dot products (n,) of rows (n, D) with a query (D,), plus offsets (n,); they round to float32 as exact sums do.

    Each product of two float32 numbers is exact in float64, so that a sum errs by at most D u of the sizes of its
    numbers. Those that lie within this of the edge between two numbers of float32 are summed again, with one rounding.
    """
    sums = _dot_products(rows, query)
    sizes = np.sqrt(np.einsum("ij,ij->i", rows, rows)) * math.sqrt(np.einsum("i,i->", query, query))
    if offsets is not None:
        sums += offsets
        sizes += np.abs(offsets)
    errors = sizes * ((len(query) + 16) * 2.0**-53)
    doubtful = (sums - errors).astype(np.float32) != (sums + errors).astype(np.float32)
    for row in np.flatnonzero(doubtful):
        sums[row] = math.fsum([*(rows[row] * query).tolist(), 0.0 if offsets is None else float(offsets[row])])
    return sums


def _dot_products(rows: DoubleArray, query: DoubleArray) -> DoubleArray:
    """Dot products (n,) of rows (n, D) with a query (D,); NumPy hands a stack of (1, D) to BLAS singly."""
    stack, column = rows[:, None, :], query[:, None]
    sums: DoubleArray = np.matmul(stack[..., :COLUMNS_AT_A_TIME], column[:COLUMNS_AT_A_TIME])
    for start in range(COLUMNS_AT_A_TIME, rows.shape[1], COLUMNS_AT_A_TIME):
        strip = slice(start, start + COLUMNS_AT_A_TIME)
        sums += np.matmul(stack[..., strip], column[strip])
    return sums[:, 0, 0]


@dataclass
class PartEstimates:
    """Estimates of one part for Q queries: for the row at position i of the part, in the unit of query q,

        | x · y  -  (offsets[q] + values[q, i]) |  <=  slacks[q] · widths[:, i]  <=  largest_errors[q]

    With offsets of rows, x · y includes that of the row. A hidden row has the value -inf. Peak j is the largest of the
    values at the positions j, j + b, j + 2 b and so on: NumPy finds maxima over a long stride faster than those of
    short contiguous runs.
    """

    values: FloatArray  # (Q, p)
    peaks: FloatArray  # (Q, b)
    offsets: list[float]  # (Q,)
    slacks: DoubleArray  # (Q, w)
    largest_errors: list[float]  # (Q,)
    widths: FloatArray  # (w, p)
    start: int  # the slot of the first row

    def slots_reaching(self, query: int, level: float) -> Rows:
        """The slots (n,), ascending, of the rows whose x · y may reach the level by the bound of each row."""
        # First by the largest error, which drops no row that its own bound would keep. The floor is finite, since
        # hidden rows have -inf.
        floor = below(level - self.offsets[query] - self.largest_errors[query])
        positions = self._positions_from(query, min(max(floor, -LARGEST_FLOAT32), LARGEST_FLOAT32))
        # einsum, since OpenBLAS would share long sums between threads that stay awake
        upper_bounds = np.einsum("w,wn->n", self.slacks[query], self.widths.take(positions, axis=1))
        upper_bounds += self.values[query].take(positions)
        return self._slots(positions[upper_bounds >= below(level - self.offsets[query])])

    def slots_reaching_levels(self, levels: Sequence[float]) -> list[Rows]:
        """`slots_reaching` of every query with its own level (Q,)."""
        count, width = self.values.shape
        if count > 1 and width <= SEARCH_PEAKS_ABOVE:
            margins = np.array(levels) - self.offsets
            floors = np.clip(below(margins - self.largest_errors), -LARGEST_FLOAT32, LARGEST_FLOAT32)
            reaching = _positions((self.values >= floors.astype(np.float32)[:, None]).reshape(-1))
            if len(reaching) <= width:  # a larger number at once would take much memory
                queries, positions = np.divmod(reaching, width)
                upper_bounds = np.einsum("nw,wn->n", self.slacks[queries], self.widths.take(positions, axis=1))
                upper_bounds += self.values.take(reaching)
                may_reach = upper_bounds >= below(margins)[queries]
                ends = queries[may_reach].searchsorted(np.arange(1, count))
                return np.split(self._slots(positions[may_reach]), ends)
        return list(map(self.slots_reaching, range(count), levels))

    def estimates_of(self, query: int, slots: Rows) -> DoubleArray:
        """Estimates (n,) of x · y for the rows in slots (n,) of this part."""
        estimates: DoubleArray = self.values[query, slots - self.start] + np.float64(self.offsets[query])
        return estimates

    def _positions_from(self, query: int, floor: float) -> Rows:
        """Positions (n,) in the part, ascending, of values that are not below the floor."""
        values = self.values[query]
        if len(values) <= SEARCH_PEAKS_ABOVE:
            return _positions(values >= floor)
        columns = _positions(self.peaks[query] >= floor)
        lanes, nth = (values.reshape(LANES, -1)[:, columns] >= floor).nonzero()
        positions: Rows = lanes * self.peaks.shape[1] + columns[nth]
        return positions

    def _slots(self, positions: Rows) -> Rows:
        return positions + self.start if self.start else positions


class Estimates(NamedTuple):
    """The estimates of all parts for the same Q queries, each in its own unit."""

    units: Sequence[float]  # (Q,)
    parts: Sequence[PartEstimates]


def best_rows(estimates: Estimates, k: int, *, limit: int, score: Score) -> Iterator[tuple[FloatArray, Rows] | None]:
    """Find the exact best k rows of each query among all parts.

    Proof: let t be a number that at least k rows score. A row whose x · y is proven to be below the next float32 number
    under t rounds to a score below t: it is none of the best k, nor tied with them. All other rows are scored, and the
    best of these are the best of all. The lowest of the k best scores of any rows is such a t.

    - `estimates`: of all rows for Q queries.
    - `limit`: candidates that are scored at the most.
    - `score`: scores rows exactly.

    Yields for each query the scores and slots (k,), best first and ties by lower slot, or None where more than `limit`
    rows may be among the best.
    """
    units, parts = estimates
    largest_errors = map(max, zip(*(part.largest_errors for part in parts), strict=True))
    likely_levels = _likely_levels(parts, k)
    levels = [level - LEVEL_MARGIN * error for level, error in zip(likely_levels, largest_errors, strict=True)]
    slots_by_part = zip(*(part.slots_reaching_levels(levels) for part in parts), strict=True)
    for query, (unit, level, part_slots) in enumerate(zip(units, levels, slots_by_part, strict=True)):
        candidates = _joined(part_slots)
        pruned = _exceeds(len(candidates), k)
        if pruned:  # to find t, those with the k best estimates are enough
            values = [part.estimates_of(query, slots) for part, slots in zip(parts, part_slots, strict=True)]
            first = len(candidates) - k
            candidates = candidates[np.argpartition(np.concatenate(values), first)[first:]]
        scores = score(query, candidates)
        proven_level = below(min(_kth_highest(scores, k), LARGEST_FLOAT32)) / unit
        if pruned or proven_level < level:
            candidates = _joined([part.slots_reaching(query, proven_level) for part in parts])
            if len(candidates) > limit:
                yield None
                continue
            scores = score(query, candidates)
        yield top(scores, candidates, k)


def top(scores: FloatArray, slots: Rows, k: int) -> tuple[FloatArray, Rows]:
    """The best k of scored rows (n,), whose slots ascend: scores and slots, best first and ties by lower slot."""
    if _exceeds(len(scores), k):
        in_top = scores >= _kth_highest(scores, k)
        scores, slots = scores[in_top], slots[in_top]
    order = (-scores).argsort(kind="stable")[:k]
    return scores[order], slots[order]


def _likely_levels(parts: Sequence[PartEstimates], k: int) -> list[float]:
    """For each query the k-th highest peak: hardly more than k rows reach it by their estimate.

    -inf, which all rows reach, where there are fewer than k peaks.
    """
    part_peaks = [part.peaks + np.array(part.offsets)[:, None] for part in parts]
    peaks = part_peaks[0] if len(part_peaks) == 1 else np.concatenate(part_peaks, axis=1)
    kth = peaks.shape[1] - k
    if kth < 0:
        return [-math.inf] * len(peaks)
    peaks.partition(kth, axis=1)
    levels: list[float] = peaks[:, kth].tolist()
    return levels


def _exceeds(count: int, k: int) -> bool:
    """Whether this number of candidates is worth reducing before they are scored or sorted."""
    return count > PRUNE_ABOVE + PRUNE_ABOVE_PER_RESULT * k


def _kth_highest(numbers: npt.NDArray[np.floating[Any]], k: int) -> float:
    """The k-th highest of numbers (n,), -inf where there are fewer."""
    kth = len(numbers) - k
    return float(np.partition(numbers, kth)[kth]) if kth >= 0 else -math.inf


def below(number: Number) -> Number:
    """Not above the float32 number next below a number, nor above the number itself when rounded to float32."""
    return number - abs(number) * 2.0**-22 - 2.0**-148


def _positions(mask: Mask) -> Rows:
    """Where a mask (n,) is True."""
    positions: Rows = mask.nonzero()[0]
    return positions


def _joined(arrays: Sequence[Rows]) -> Rows:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
