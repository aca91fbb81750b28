"""Estimates the inner products of queries with all rows of a matrix that comes in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, repeat
from typing import NamedTuple, TypeVar

import numpy as np

from clipshelf.rank.bounds import LANES, FloatRows, Int8Rows, Part, encode, row_norms
from clipshelf.rank.exact import Estimates, PartEstimates
from clipshelf.rank.quantising import SMALLEST_WIDTH, UNIT_ROUNDOFF
from clipshelf.runtime.native_scan import StreamPart
from clipshelf.types import DoubleArray, FloatArray, Mask
from clipshelf.workers import Workers

QuantisedPart = TypeVar("QuantisedPart", Part, StreamPart)

PART_BYTES = 2**25  # from 32 MiB on, malloc maps an array by itself and gives it back; smaller arrays leave holes
ONE_PART_BYTES = 2**24  # below this, sharing one product between threads beats one part for each
RESCORE_PER_RESULT = 8


class Int8Scan(NamedTuple):
    """How exact an int8 scan is, and how many candidates are scored after it; with more, the next scan costs less.

    - `digits`: digits of a query.
    - `rescore_at_least`, `rescore_one_in`: the largest number of candidates, as a number and as a share of all rows.
    """

    digits: int
    rescore_at_least: int
    rescore_one_in: int

    def limit(self, k: int, rows: int) -> int:
        """The largest number of candidates that are scored, for k results among `rows` rows."""
        return max(self.rescore_at_least, RESCORE_PER_RESULT * k, rows // self.rescore_one_in)


# Run in turn, each on the queries that the scan before left unanswered; a float32 scan is the last.
INT8_SCANS = (
    Int8Scan(digits=1, rescore_at_least=128, rescore_one_in=64),
    Int8Scan(digits=2, rescore_at_least=1024, rescore_one_in=16),
)


class Scanner:
    """Scans parts that follow each other: the first row of a part has the slot after the last of the part before."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._starts = list(accumulate((part.rows for part in self.parts), initial=0))
        self._largest_widths = [part.widths[:, : part.rows].max(axis=1).astype(np.float64) for part in self.parts]

    def scan(
        self,
        queries: FloatArray,
        allowed: Mask | None,
        workers: Workers | None = None,
        digits: int = 2,
        offsets: FloatArray | None = None,
    ) -> Estimates:
        """Estimate the inner products of queries with all rows.

        - `queries`: (Q, D) float32.
        - `allowed`: a mask over slots (N,); the other rows are hidden. None allows all.
        - `workers`: they scan one part each; None scans one part after the other.
        - `digits`: digits of each query, 1 or 2; see `clipshelf.rank.bounds.encode`.
        - `offsets`: (N,) float32 added to the inner products of each slot, below 2**60 times the largest number of any
          query.
        """
        encoded = encode(queries, digits)

        def scan_part(number: int) -> PartEstimates:
            part, start = self.parts[number], self._starts[number]
            mask = None if allowed is None else allowed[start : start + part.rows]
            if mask is None or mask.any():
                values = part.estimate(encoded)
            else:
                values = np.empty((len(queries), part.widths.shape[1]), np.float32)
            roundings = np.zeros(len(queries))
            if offsets is not None and (mask is None or mask.any()):
                own = offsets[start : start + part.rows]
                roundings = np.array(list(map(_add_offsets, values[:, : part.rows], repeat(own), encoded.units)))
            _hide(values, part.rows, mask)
            peaks = np.maximum.reduce(values.reshape(len(queries), LANES, -1), axis=1)
            query_offsets, slacks = part.bound(encoded)
            # Only upper bounds matter to the proof, and raised offsets keep them.
            query_offsets += roundings
            largest_errors = (slacks @ self._largest_widths[number]).tolist()
            return PartEstimates(values, peaks, query_offsets.tolist(), slacks, largest_errors, part.widths, start)

        numbers = range(len(self.parts))
        parts = workers.map(scan_part, numbers) if workers and len(numbers) > 1 else list(map(scan_part, numbers))
        return Estimates(encoded.units, parts)


def _add_offsets(values: FloatArray, offsets: FloatArray, unit: float) -> float:
    """Add the offsets (n,) of rows, in the unit of a query, to its estimates (n,).

    Returns at least the error of every sum: the unit's reciprocal and each product are rounded, and then the sum.
    """
    scaled = offsets * np.float32(1 / unit)
    values += scaled
    largest = [max(float(numbers.max()), -float(numbers.min())) for numbers in (scaled, values)]
    return 4 * UNIT_ROUNDOFF * sum(largest) + SMALLEST_WIDTH


def _hide(values: FloatArray, rows: int, allowed: Mask | None) -> None:
    """Set values (Q, p) to -inf past the last row and where not allowed (n,)."""
    values[:, rows:] = -np.inf
    if allowed is not None:
        np.copyto(values[:, :rows], np.float32(-np.inf), where=~allowed)


def int8_parts(matrix: FloatArray, threads: int, workers: Workers | None, *, whole: bool) -> list[Part]:
    """Quantise the rows of a matrix (N, D) for onnxruntime, in parts as `quantised_parts` makes them.

    If a single part is the `whole` of what is scanned, it shares its product between the threads.
    """
    part_threads = threads if whole and matrix.size <= ONE_PART_BYTES else 1
    return quantised_parts(matrix, threads, workers, lambda rows, norms: Int8Rows(rows, norms, part_threads))


def quantised_parts(
    matrix: FloatArray,
    threads: int,
    workers: Workers | None,
    quantise: Callable[[FloatArray, DoubleArray], QuantisedPart],
) -> list[QuantisedPart]:
    """Quantise the rows of a matrix (N, D) in parts of 32 MiB or somewhat more, the same number for each thread.

    A small matrix becomes one part.

    - `quantise`: makes a part of rows (n, D) and upper bounds (n,) of their norms.
    """
    rows, dim = matrix.shape
    parts = 1 if rows * dim <= ONE_PART_BYTES else max(1, rows * dim // (PART_BYTES * threads)) * threads
    size = LANES * -(-rows // (LANES * parts)) or 1

    def quantise_from(start: int) -> QuantisedPart:
        part_rows = matrix[start : start + size]
        return quantise(part_rows, row_norms(part_rows, start))

    starts = range(0, rows, size)
    return workers.map(quantise_from, starts) if workers and len(starts) > 1 else list(map(quantise_from, starts))


def float_parts(matrix: FloatArray) -> list[Part]:
    """One part over the rows of a matrix (N, D) as they are, none for no rows."""
    return [FloatRows(matrix, row_norms(matrix))] if len(matrix) else []


def reusable_parts(parts: Sequence[QuantisedPart], slot_count: int, dim: int) -> tuple[list[QuantisedPart], int]:
    """The parts that stay when there are `slot_count` rows of D numbers, and the slot from which rows are quantised.

    The last part is quantised again, together with the rows after it, while it is at most twice as large as these and
    both make at most 32 MiB. So parts stay few, and a row is quantised again a logarithmic number of times.
    """
    reused = list(parts)
    start = sum(part.rows for part in reused)
    while (
        reused
        and reused[-1].rows <= 2 * (slot_count - start)
        and (slot_count - start + reused[-1].rows) * dim <= PART_BYTES
    ):
        start -= reused.pop().rows
    return reused, start
