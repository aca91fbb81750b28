"""Exact top-k by inner product. Rows are taken as they are, never normalised.

`clipshelf.rank.exact` says what a score is, and proves that the rows found are the best.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from clipshelf.errors import InputError
from clipshelf.forks import call_in_child
from clipshelf.rank.bounds import row_norms
from clipshelf.rank.device import DeviceRanker
from clipshelf.rank.exact import Estimates, best_rows, scores_of, top
from clipshelf.rank.rows import RowStore, SlotTerms
from clipshelf.rank.scan import INT8_SCANS, Scanner, float_parts, int8_parts, quantised_parts, reusable_parts
from clipshelf.rank.stream import stream_part
from clipshelf.runtime.cpus import resolve_threads
from clipshelf.runtime.native import load_kernels
from clipshelf.runtime.native_scan import NativeScan, StreamPart, can_scan
from clipshelf.types import FloatArray, Mask, Rows
from clipshelf.workers import Workers

PRECISIONS = ("auto", "fp32", "int8")
INT8_FROM_SIZE = 2**20  # numbers in the matrix from which "auto" quantises
QUERIES_PER_GROUP = 64  # queries that are scanned together
SCAN_ABOVE_ONE_IN = 128  # a mask that allows at most one row in 128 is answered by scoring all of these

LARGEST_OFFSET_RATIO = 2.0**60  # of an offset to the largest number of a query: their quotients stay far below overflow

Results: TypeAlias = tuple[FloatArray, Rows]  # scores (Q, k) and slots (Q, k), filled in place


class Ranker:
    """Searches the rows of one matrix by inner product, exactly.

    - `matrix`: (N, D) float32, all finite. It is read and not copied, so it may be a memory map; it must not change.
    - `precision`: "fp32" scans the matrix with NumPy's matmul; "int8" scans a quantised copy, a quarter of the size;
      "auto" is "int8" from 2**20 numbers on. All give the same scores and rows, bit by bit.
    - `threads`: threads of one search, 1 to 256; None is all CPUs that this process may use.
    - `provider`: full name of an execution provider of onnxruntime, whose device then holds an fp16 copy of the rows
      and scans that; None scans on the CPU. A forked child scans on the CPU.

    Several threads may search at once, but not while rows are added or removed. Raises InputError on another shape,
    dtype, precision or number of threads and on NaN or infinity, ProviderUnavailable where the provider does not start
    or its device has no room.
    """

    def __init__(
        self,
        matrix: FloatArray,
        precision: str = "auto",
        *,
        threads: int | None = None,
        provider: str | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}")
        _check_matrix("matrix", matrix)
        self._requested_precision = precision
        self._threads = resolve_threads(threads)
        self._workers = Workers(self._threads) if self._threads > 1 else None
        self._lock = threading.Lock()
        self._query_count = self._certified_count = 0
        self._store = RowStore(matrix)
        self._kernels = load_kernels() if can_scan(matrix) else None
        self._stream_parts: list[StreamPart] = []  # with native kernels in place of the int8 scanner
        self._native_scan: NativeScan | None = None
        self._int8_scanner: Scanner | None = None
        self._float_scanner: Scanner | None = None
        self._device = DeviceRanker(provider, self._store, self._threads) if provider and matrix.size else None
        if self._device is None:
            self._update_scanners()
        call_in_child(self, Ranker._follow_fork)

    def _follow_fork(self) -> None:
        """Have a forked child quantise again, on first use, what the threads that it lacks would share."""
        self._lock = threading.Lock()
        self._device = None
        if self._int8_scanner and any(part.threads > 1 for part in self._int8_scanner.parts):
            self._int8_scanner = None

    def __len__(self) -> int:
        return len(self._store)

    @property
    def precision(self) -> str:
        """What is scanned: "fp32" or "int8"."""
        if self._requested_precision != "auto":
            return self._requested_precision
        return "int8" if self._store.slot_count * self._store.dim >= INT8_FROM_SIZE else "fp32"

    @property
    def certified(self) -> float:
        """Share of all queries since the start, 0 to 1, whose result the error bound proved with few candidates.

        The others needed a float32 scan after an int8 scan: exact as well, but slower. 1 before the first query.
        """
        return self._certified_count / self._query_count if self._query_count else 1.0

    def top_k(
        self, queries: FloatArray, k: int, mask: Mask | None = None, offsets: FloatArray | None = None
    ) -> tuple[FloatArray, Rows]:
        """Find the k best rows for each query.

        - `queries`: (Q, D) float32, all finite.
        - `k`: results for each query, 1 or more; no more than there are allowed rows are returned.
        - `mask`: (N,) bool, True for the rows that may be returned; None allows all.
        - `offsets`: (N,) float32, all finite, added to the inner products of each row; None for none.

        Returns scores (Q, k) float32 and row numbers (Q, k) int64, best first, ties by lower row. Raises InputError on
        another shape, dtype or k and on NaN or infinite queries.
        """
        self._check(queries, k, mask, offsets)
        terms = SlotTerms(self._store.slot_mask(mask), self._store.slot_offsets(offsets))
        count = len(self) if mask is None else int(np.count_nonzero(mask))
        k = min(k, count)
        scores, slots = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        if k > 0 and len(queries) > 0:
            if count <= max(k, len(self) // SCAN_ABOVE_ONE_IN) or _dwarfs(offsets, queries):
                self._score_all(queries, terms, (scores, slots))
            else:
                self._search_groups(queries, terms, (scores, slots))
        return scores, self._store.rows_of(slots)

    def add(self, rows: FloatArray) -> None:
        """Append a copy of rows as rows N to N + M - 1. Quantises them, and sometimes a few parts before them again.

        - `rows`: (M, D) float32, all finite.

        Raises InputError on another shape or dtype and on NaN or infinity; then nothing has changed.
        """
        _check_matrix("rows", rows)
        if rows.shape[1] != self._store.dim:
            raise InputError(f"rows: expected (M, {self._store.dim}), found {rows.shape}")
        row_norms(rows)  # raises where a row is not finite, before anything changes
        self._store.append(rows)
        self._update_scanners()

    def remove(self, rows: Sequence[int] | Rows) -> None:
        """Remove rows; the rows after them move up, as in np.delete. Nothing is quantised again.

        - `rows`: row numbers, 0 to N - 1, in any order.

        Raises InputError on numbers outside of that range and on other types.
        """
        numbers = np.unique(rows)
        if len(numbers) == 0:
            return
        if numbers.dtype.kind not in "iu":
            raise InputError(f"rows: expected row numbers, found {numbers.dtype}")
        if not 0 <= numbers[0] <= numbers[-1] < len(self):
            raise InputError(f"rows: expected numbers from 0 to {len(self) - 1}, found {numbers[0]} to {numbers[-1]}")
        self._store.remove(numbers)

    def _update_scanners(self) -> None:
        """Make the scanner of the precision cover all slots, reusing its parts."""
        self._float_scanner = None
        if self._device:
            self._device.update()
            return
        if self.precision == "fp32" or not self._store.slot_count:
            self._int8_scanner = self._native_scan = None
            self._open_float_scanner()
            return
        if self._kernels:
            self._stream_parts, start = reusable_parts(self._stream_parts, self._store.slot_count, self._store.dim)
            self._stream_parts += quantised_parts(
                self._store.from_slot(start), self._threads, self._workers, stream_part
            )
            self._native_scan = NativeScan(self._kernels, self._stream_parts, self._store.matrices(), self._threads)
            return
        old_parts = () if self._int8_scanner is None else self._int8_scanner.parts
        reused, start = reusable_parts(old_parts, self._store.slot_count, self._store.dim)
        new_parts = int8_parts(self._store.from_slot(start), self._threads, self._workers, whole=not reused)
        self._int8_scanner = Scanner([*reused, *new_parts])

    def _open_int8_scanner(self) -> Scanner | None:
        """The int8 scanner, None without one; only a forked child makes it here."""
        is_wanted = self._device is None and self._kernels is None and self.precision == "int8"
        if is_wanted and self._int8_scanner is None and self._store.slot_count:
            with self._lock:
                if self._int8_scanner is None:
                    self._update_scanners()
        return self._int8_scanner

    def _open_float_scanner(self) -> Scanner:
        """The float32 scanner, made on first use."""
        with self._lock:
            if self._float_scanner is None:
                base, added = self._store.matrices()
                self._float_scanner = Scanner([*float_parts(base), *float_parts(added)])
            return self._float_scanner

    def _score_all(self, queries: FloatArray, terms: SlotTerms, results: Results) -> None:
        """Fill the results by scoring all allowed rows, without a scan."""
        slots = np.arange(len(self)) if terms.allowed is None else np.flatnonzero(terms.allowed)
        scores, best_slots = results
        for position, query in enumerate(queries):
            with np.errstate(over="ignore"):
                scores[position], best_slots[position] = top(self._scores(query, slots, terms), slots, scores.shape[1])

    def _search_groups(self, queries: FloatArray, terms: SlotTerms, results: Results) -> None:
        """Fill the results group by group.

        All threads scan a single group. Of more groups, each thread takes its own: while one finds the best rows of its
        estimates, which holds the interpreter lock, another one scans.
        """
        scores, slots = results
        groups = [slice(start, start + QUERIES_PER_GROUP) for start in range(0, len(queries), QUERIES_PER_GROUP)]

        def search(group: slice, workers: Workers | None = None) -> None:
            self._search(queries[group], terms, (scores[group], slots[group]), workers)

        if self._workers and len(groups) > 1:
            self._workers.map(search, groups)
        else:
            for group in groups:
                search(group, self._workers)

    def _search(self, queries: FloatArray, terms: SlotTerms, results: Results, workers: Workers | None) -> None:
        """Fill the results by int8 scans where these leave few candidates, the others by a float32 scan."""
        unanswered: Sequence[int] = range(len(queries))
        int8_scanner = self._open_int8_scanner()
        if self._device:
            unanswered = self._device(queries, terms, results)
        elif self._native_scan:
            limit = INT8_SCANS[-1].limit(results[0].shape[1], len(self))
            unanswered = self._native_scan(queries, terms, limit, results, workers)
        elif int8_scanner:
            unanswered = self._search_int8(int8_scanner, queries, terms, results, workers)
        with self._lock:
            self._query_count += len(queries)
            is_estimated = self._device or self._native_scan or int8_scanner
            self._certified_count += len(queries) - (len(unanswered) if is_estimated else 0)
        if unanswered:
            scanned = queries if len(unanswered) == len(queries) else queries[unanswered]
            estimates = self._open_float_scanner().scan(scanned, terms.allowed, offsets=terms.offsets)
            self._answer(scanned, unanswered, estimates, len(self), terms, results)

    def _search_int8(
        self, scanner: Scanner, queries: FloatArray, terms: SlotTerms, results: Results, workers: Workers | None
    ) -> Sequence[int]:
        """Fill the results by onnxruntime's int8 scans; return the positions of the queries that need another."""
        unanswered: Sequence[int] = range(len(queries))
        for scan in INT8_SCANS:
            scanned = queries if len(unanswered) == len(queries) else queries[unanswered]
            estimates = scanner.scan(scanned, terms.allowed, workers, scan.digits, terms.offsets)
            limit = scan.limit(results[0].shape[1], len(self))
            unanswered = self._answer(scanned, unanswered, estimates, limit, terms, results)
            if not unanswered:
                break
        return unanswered

    def _answer(  # noqa: PLR0917  (the parts of one search)
        self,
        queries: FloatArray,
        positions: Sequence[int],
        estimates: Estimates,
        limit: int,
        terms: SlotTerms,
        results: Results,
    ) -> list[int]:
        """Fill the results of those queries for which scoring at most `limit` rows is enough.

        - `queries`: (Q, D), those that were scanned.
        - `positions`: where their results stand in `results`.

        Returns the positions of the others.
        """
        scores, slots = results
        unanswered = []

        def score(number: int, candidates: Rows) -> FloatArray:
            return self._scores(queries[number], candidates, terms)

        with np.errstate(over="ignore"):
            best_by_query = best_rows(estimates, scores.shape[1], limit=limit, score=score)
            for position, best in zip(positions, best_by_query, strict=True):
                if best is None:
                    unanswered.append(position)
                else:
                    scores[position], slots[position] = best
        return unanswered

    def _scores(self, query: FloatArray, slots: Rows, terms: SlotTerms) -> FloatArray:
        """Scores (n,) of the rows in slots (n,) for one query (D,)."""
        return scores_of(self._store.take, query.astype(np.float64), slots, terms.offsets)

    def _check(self, queries: FloatArray, k: int, mask: Mask | None, offsets: FloatArray | None) -> None:
        dim = self._store.dim
        if queries.ndim != 2 or queries.shape[1] != dim or queries.dtype != np.float32:
            raise InputError(f"queries: expected float32 (Q, {dim}), found {queries.dtype} {queries.shape}")
        if k < 1:
            raise InputError(f"k: expected 1 or more, found {k}")
        if not np.isfinite(queries).all():
            raise InputError("queries: expected finite numbers, found NaN or infinity")
        if mask is not None and (mask.shape != (len(self),) or mask.dtype != np.bool_):
            raise InputError(f"mask: expected bool ({len(self)},), found {mask.dtype} {mask.shape}")
        if offsets is not None:
            if offsets.shape != (len(self),) or offsets.dtype != np.float32:
                raise InputError(f"offsets: expected float32 ({len(self)},), found {offsets.dtype} {offsets.shape}")
            if not np.isfinite(offsets).all():
                raise InputError("offsets: expected finite numbers, found NaN or infinity")


def _dwarfs(offsets: FloatArray | None, queries: FloatArray) -> bool:
    """Whether offsets cannot be added to estimates: one is too large for a query, or a query is too small."""
    if offsets is None:
        return False
    largest = max(float(offsets.max()), -float(offsets.min()))
    smallest_query = float(np.abs(queries).max(axis=1, initial=0).min())
    return smallest_query * LARGEST_OFFSET_RATIO < max(largest, 1.0)


def _check_matrix(name: str, matrix: FloatArray) -> None:
    if matrix.ndim != 2 or matrix.dtype != np.float32:
        raise InputError(f"{name}: expected float32 (N, D), found {matrix.dtype} {matrix.shape}")
