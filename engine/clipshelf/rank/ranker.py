"""Exact top-k by inner product. Rows are taken as they are, never normalised.

`clipshelf.rank.exact` says what a score is, and proves that the rows found are the best.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from clipshelf.errors import InputError
from clipshelf.rank.bounds import row_norms
from clipshelf.rank.exact import Estimates, best_rows, scores_of, top
from clipshelf.rank.rows import Store
from clipshelf.rank.scan import Scanner, float_parts, int8_parts, parts_to_redo
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, Mask, Rows

_Out: TypeAlias = tuple[FloatArray, Rows]

PRECISIONS = ("auto", "fp32", "int8")
_INT8_FROM = 2**20  # numbers in the matrix from which "auto" quantises
_GROUP = 64
_FEW = 128  # a mask that leaves at most one row in so many is answered without a scan
# Scans with so many digits of each query, and how many rows it may leave, at least or as one in so many of all: to
# score more would cost more than the next scan, which is one with two digits, then one in float32.
_SCANS = ((1, 128, 64), (2, 1024, 16))
_TIMES = 8  # or so many times k


class Ranker:
    """Searches the rows of one matrix (N, D) float32 by inner product, exactly.

    `precision` "fp32" scans the matrix with NumPy's matmul; "int8" scans a quantised copy, a quarter of the size;
    "auto" chooses by size. All give the same scores and rows, bit by bit. The matrix is not copied, so it may be a
    memory map; it must not change. Several threads may search at once, but not while rows are added or removed.
    """

    def __init__(self, matrix: FloatArray, precision: str = "auto", *, threads: int | None = None) -> None:
        """Reads the matrix once. Raises InputError on a wrong shape, dtype or precision and on NaN or infinity."""
        if precision not in PRECISIONS:
            raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}")
        _check_matrix("matrix", matrix)
        self._wanted = precision
        self._threads = threads or available_cpus()
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self._lock = threading.Lock()
        self._asked = self._settled = 0
        self._store = Store(matrix)
        self._int8: Scanner | None = None
        self._fp32: Scanner | None = None
        self._index()

    def __len__(self) -> int:
        return len(self._store)

    @property
    def precision(self) -> str:
        """What is scanned: "fp32" or "int8"."""
        if self._wanted != "auto":
            return self._wanted
        return "int8" if self._store.places * self._store.dim >= _INT8_FROM else "fp32"

    @property
    def certified(self) -> float:
        """Share of the queries so far, 0 to 1, that the error bound settled with few candidates.

        The others were answered by a float32 scan as well: right, but slower. 1 before the first query.
        """
        return self._settled / self._asked if self._asked else 1.0

    def top_k(self, queries: FloatArray, k: int, mask: Mask | None = None) -> tuple[FloatArray, Rows]:
        """Scores (Q, k) float32 and rows (Q, k) int64 of the best rows, best first, ties by lower row.

        Only rows that are True in `mask` (N,) are found. k is cut to their number. Raises InputError on shapes that
        don't fit and on NaN or infinite queries.
        """
        self._check(queries, k, mask)
        allowed = self._store.allowed(mask)
        count = len(self) if mask is None else int(np.count_nonzero(mask))
        k = min(k, count)
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        if k == 0 or len(queries) == 0:
            return scores, rows
        if count <= max(k, len(self) // _FEW):
            places = np.arange(count) if allowed is None else np.flatnonzero(allowed)
            for line, query in enumerate(queries):
                with np.errstate(over="ignore"):
                    scores[line], rows[line] = top(self._scores(query, places), places, k)
        else:
            groups = [slice(start, start + _GROUP) for start in range(0, len(queries), _GROUP)]
            # One group is scanned by all threads. Of several, each thread takes its own, so that while one of them
            # settles what it found, which keeps the interpreter, another one scans.
            many = self._pool if len(groups) > 1 else None
            inner = None if many else self._pool

            def search(group: slice) -> None:
                self._search(queries[group], allowed, (scores[group], rows[group]), inner)

            deque(many.map(search, groups) if many else map(search, groups), maxlen=0)
        return scores, self._store.rows(rows)

    def add(self, rows: FloatArray) -> None:
        """Append rows (M, D) as rows N to N + M - 1; they are copied. Quantises them, and at most a few parts anew."""
        _check_matrix("rows", rows)
        if rows.shape[1] != self._store.dim:
            raise InputError(f"rows: expected (M, {self._store.dim}), found {rows.shape}")
        row_norms(rows)  # raises where a row is not finite, before anything changes
        self._store.append(rows)
        self._index()

    def remove(self, rows: Sequence[int] | Rows) -> None:
        """Remove rows by number; the rows after them move up, as in np.delete. Nothing is quantised anew."""
        numbers = np.unique(rows)
        if len(numbers) == 0:
            return
        if numbers.dtype.kind not in "iu":
            raise InputError(f"rows: expected row numbers, found {numbers.dtype}")
        if not 0 <= numbers[0] <= numbers[-1] < len(self):
            raise InputError(f"rows: expected numbers from 0 to {len(self) - 1}, found {numbers[0]} to {numbers[-1]}")
        self._store.drop(numbers)

    def _index(self) -> None:
        """Make the scanner for the precision cover all places, keeping what it has."""
        self._fp32 = None
        if self.precision == "fp32" or not self._store.places:
            self._int8 = None
            self._floats()
            return
        old = () if self._int8 is None else self._int8.parts
        start, kept = parts_to_redo(old, self._store.places, self._store.dim)
        new = int8_parts(self._store.since(start), self._threads, self._pool, alone=not kept)
        self._int8 = Scanner([*kept, *new])

    def _floats(self) -> Scanner:
        """The float32 scanner, made when it is first needed."""
        with self._lock:
            if self._fp32 is None:
                base, extra = self._store.runs()
                self._fp32 = Scanner([*float_parts(base), *float_parts(extra)])
            return self._fp32

    def _search(self, queries: FloatArray, allowed: Mask | None, out: _Out, pool: ThreadPoolExecutor | None) -> None:
        """Fill scores (Q, k) and places (Q, k): by int8 where few candidates settle it, the others by float32."""
        k = out[0].shape[1]
        left: Sequence[int] = range(len(queries))
        if self._int8 is not None:
            for places, few, share in _SCANS:
                some = queries if len(left) == len(queries) else queries[left]
                found = self._int8.scan(some, allowed, pool, places)
                left = self._settle(queries, left, found, max(few, _TIMES * k, len(self) // share), out)
                if not left:
                    break
        with self._lock:
            self._asked += len(queries)
            self._settled += len(queries) - len(left) if self._int8 is not None else len(queries)
        if left:
            self._settle(queries, left, self._floats().scan(queries[left], allowed), len(self), out)

    def _settle(
        self,
        queries: FloatArray,
        lines: Sequence[int],
        found: tuple[list[float], list[Estimates]],
        limit: int,
        out: _Out,
    ) -> list[int]:
        """Answer those queries of some lines for which scoring at most `limit` rows is enough; the other lines."""
        units, estimates = found
        scores, rows = out
        left = []

        def score(number: int, places: Rows) -> FloatArray:
            return self._scores(queries[lines[number]], places)

        with np.errstate(over="ignore"):
            settled = best_rows(estimates, units, scores.shape[1], limit=limit, score=score)
            for line, best in zip(lines, settled, strict=True):
                if best is None:
                    left.append(line)
                else:
                    scores[line], rows[line] = best
        return left

    def _scores(self, query: FloatArray, places: Rows) -> FloatArray:
        """Scores (n,) of the rows at some places (n,) for one query (D,)."""
        return scores_of(self._store.at, query.astype(np.float64), places)

    def _check(self, queries: FloatArray, k: int, mask: Mask | None) -> None:
        dim = self._store.dim
        if queries.ndim != 2 or queries.shape[1] != dim or queries.dtype != np.float32:
            raise InputError(f"queries: expected float32 (Q, {dim}), found {queries.dtype} {queries.shape}")
        if k < 1:
            raise InputError(f"k: expected 1 or more, found {k}")
        if not np.isfinite(queries).all():
            raise InputError("queries: expected finite numbers, found NaN or infinity")
        if mask is not None and (mask.shape != (len(self),) or mask.dtype != np.bool_):
            raise InputError(f"mask: expected bool ({len(self)},), found {mask.dtype} {mask.shape}")


def _check_matrix(name: str, matrix: FloatArray) -> None:
    if matrix.ndim != 2 or matrix.dtype != np.float32:
        raise InputError(f"{name}: expected float32 (N, D), found {matrix.dtype} {matrix.shape}")
