"""Scans all rows of a matrix that comes in parts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np

from clipshelf.rank.bounds import LANES, FloatRows, Int8Rows, Part, encode, row_norms
from clipshelf.rank.exact import Estimates
from clipshelf.types import FloatArray, Mask

_PART_BYTES = 2**25  # from 32 MiB on, malloc maps an array by itself and gives it back; smaller ones leave holes
_ALONE_BYTES = 2**24  # below this, sharing one product between threads beats one part for each


class Scanner:
    """Estimates for all rows of the parts, which follow each other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._starts = list(accumulate((part.rows for part in self.parts), initial=0))
        self._widest = [part.widths[:, : part.rows].max(axis=1).astype(np.float64) for part in self.parts]

    def scan(
        self, queries: FloatArray, allowed: Mask | None, pool: ThreadPoolExecutor | None = None, places: int = 2
    ) -> tuple[list[float], list[Estimates]]:
        """Units (Q,) of the queries (Q, D), and the estimates part by part; rows not in `allowed` (N,) are hidden.

        With a pool, parts are scanned side by side. `places` is how many digits a query has.
        """
        encoded = encode(queries, places)

        def run(number: int) -> Estimates:
            part, start = self.parts[number], self._starts[number]
            mask = None if allowed is None else allowed[start : start + part.rows]
            if mask is None or mask.any():
                values = part.scan(encoded)
            else:
                values = np.empty((len(queries), part.widths.shape[1]), np.float32)
            _hide(values, part.rows, mask)
            peaks = np.maximum.reduce(values.reshape(len(queries), LANES, -1), axis=1)
            offsets, slacks = part.bound(encoded)
            reaches = (slacks @ self._widest[number]).tolist()
            return Estimates(values, peaks, offsets.tolist(), slacks, reaches, part.widths, start)

        numbers = range(len(self.parts))
        return encoded.units, list(pool.map(run, numbers) if pool and len(numbers) > 1 else map(run, numbers))


def _hide(values: FloatArray, rows: int, allowed: Mask | None) -> None:
    """Set values (Q, p) to -inf past the last row and where not allowed (n,)."""
    values[:, rows:] = -np.inf
    if allowed is not None:
        np.copyto(values[:, :rows], np.float32(-np.inf), where=~allowed)


def int8_parts(matrix: FloatArray, threads: int, pool: ThreadPoolExecutor | None, *, alone: bool) -> list[Part]:
    """Quantise all rows of (N, D) in parts of 32 MiB or somewhat more, as many for each thread.

    A small matrix becomes one part, which shares its product between the threads if it will stand `alone`.
    """
    rows, dim = matrix.shape
    parts = 1 if rows * dim <= _ALONE_BYTES else max(1, rows * dim // (_PART_BYTES * threads)) * threads
    size = LANES * -(-rows // (LANES * parts)) or 1
    inner = threads if alone and parts == 1 else 1

    def build(start: int) -> Part:
        some = matrix[start : start + size]
        return Int8Rows(some, row_norms(some, start), inner)

    starts = range(0, rows, size)
    return list(pool.map(build, starts) if pool else map(build, starts))


def parts_to_redo(parts: Sequence[Part], places: int, dim: int) -> tuple[int, list[Part]]:
    """Which parts stay when the rows grew to `places`, and the place from which the rest is quantised (again).

    A part is joined with what follows it while it is not more than twice as large, up to 32 MiB: so parts stay few, and
    a row is quantised again a logarithmic number of times.
    """
    kept = list(parts)
    start = sum(part.rows for part in kept)
    while kept and kept[-1].rows <= 2 * (places - start) and (places - start + kept[-1].rows) * dim <= _PART_BYTES:
        start -= kept.pop().rows
    return start, kept


def float_parts(matrix: FloatArray) -> list[Part]:
    """One part over the rows of (N, D) as they are, none for no rows."""
    return [FloatRows(matrix, row_norms(matrix))] if len(matrix) else []
