"""Searches rows that stay on a device in fp16, and proves on the host that the best are found.

The device returns the rows with the largest estimates. Those that may be among the best are scored exactly, and no
other row can be: its estimate is at most the smallest that was returned, and `clipshelf.rank.half_rows` bounds how far
it is off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from clipshelf.rank.bounds import row_norms
from clipshelf.rank.exact import LARGEST_FLOAT32, below, scores_of, top
from clipshelf.rank.half_rows import HalfQueries, HalfRows, errors, half_queries, half_rows, offsets, part_slices
from clipshelf.rank.rows import RowStore, SlotTerms
from clipshelf.runtime.device_scan import GROUP, DeviceScan, Terms
from clipshelf.types import DoubleArray, FloatArray, Rows

# Rows that a part returns for each query, at least and for each result; a second search returns more where these leave
# doubt. More than the last are scanned for on the host.
RETURNED_AT_LEAST, RETURNED_PER_RESULT = 64, 2
SECOND_SEARCH = 8  # times as many
RETURNED_AT_MOST = 2048
# Parts that are this much smaller than the rows after them are copied again together with them.
MERGE_BELOW = 2
# Terms are added in float32, in which products of these sizes neither overflow nor vanish.
LARGEST_SCALE, SMALLEST_SCALE = 2.0**100, 2.0**-100
SUM_ERROR = 2.0**-22  # relative, of scaling an estimate and adding a term in float32, rounded up
DOUBLE_ERROR = 2.0**-50  # relative, of adding the mean to an estimate


class _Part(NamedTuple):
    """Rows on the device: their value there, the slot of the first one, and what is known of them."""

    value: Any
    start: int
    rows: HalfRows  # without what was sent


class _Found(NamedTuple):
    """The rows of one part with the largest estimates, for Q queries.

    - `slots`: (Q, k).
    - `estimates`, `errors`: of their x · y, (Q, k) and (Q,).
    - `rest`: upper bounds (Q,) of all other rows of the part, -inf where there are none.
    """

    slots: Rows
    estimates: DoubleArray
    errors: DoubleArray
    rest: DoubleArray


class DeviceRanker:
    """Finds the exact best rows by scanning fp16 copies on the device of a provider.

    - `provider`: full name of the provider.
    - `store`: the rows.
    - `threads`: threads of a scan where the provider is the CPU.

    Raises ProviderUnavailable where the provider does not start or its device has no room.
    """

    def __init__(self, provider: str, store: RowStore, threads: int) -> None:
        self._store = store
        self._scan = DeviceScan(provider, store.dim, threads=threads)
        self._parts: list[_Part] = []
        self.update()

    def update(self) -> None:
        """Copy rows that were added to the device, and sometimes a few parts before them again."""
        count = self._store.slot_count
        start = self._parts[-1].start + self._parts[-1].rows.rows if self._parts else 0
        while self._parts and self._parts[-1].rows.rows <= MERGE_BELOW * (count - start):
            start = self._parts.pop().start
        added = self._store.from_slot(start)
        for strip in part_slices(count - start, self._store.dim, 0):
            rows = half_rows(added[strip], row_norms(added[strip], start + strip.start), GROUP)
            value = self._scan.put(rows.scaled)
            self._parts.append(_Part(value, start + strip.start, rows._replace(scaled=rows.scaled[:0])))

    def __call__(self, queries: FloatArray, terms: SlotTerms, results: tuple[FloatArray, Rows]) -> list[int]:
        """Fill the results of queries (Q, D): scores and slots (Q, k), best first, ties by lower slot.

        Returns the positions of the queries without an answer: too many rows may be among their best.
        """
        unanswered = list(range(len(queries)))
        k = results[0].shape[1]
        returned = max(RETURNED_AT_LEAST, RETURNED_PER_RESULT * k)
        for limit in (returned, SECOND_SEARCH * returned):
            if unanswered and limit <= RETURNED_AT_MOST:
                unanswered = self._search(queries, unanswered, terms, limit, results)
        return unanswered

    def _search(
        self, queries: FloatArray, positions: list[int], terms: SlotTerms, limit: int, results: tuple[FloatArray, Rows]
    ) -> list[int]:
        """Answer the queries at some positions from `limit` rows of each part; return the positions of the others."""
        encoded = half_queries(queries[positions])
        unanswered = []
        with np.errstate(over="ignore", invalid="ignore"):  # scores may overflow; an infinite bound proves nothing
            parts = [self._best(part, encoded, terms, limit) for part in self._parts]
            for number, position in enumerate(positions):
                best = self._prove(queries[position], number, parts, terms, results[0].shape[1])
                if best is None:
                    unanswered.append(position)
                else:
                    results[0][position], results[1][position] = best
        return unanswered

    def _best(self, part: _Part, queries: HalfQueries, terms: SlotTerms, limit: int) -> _Found:
        """Have the device find the largest estimates of a part."""
        scales = part.rows.scale * queries.scales
        bounds = errors(part.rows, queries) * scales
        means, mean_errors = offsets(part.rows, queries)
        padded = part.value.shape()[0]
        k = min(limit, padded)
        added = _terms_of(part, terms, padded)
        if added is None:
            values, numbers = self._scan.best(part.value, queries.halves, k)
            estimates = values * scales[:, None]
        else:
            factors = np.clip(scales, SMALLEST_SCALE, LARGEST_SCALE)
            device_terms = Terms(factors.astype(np.float32)[:, None], added)
            values, numbers = self._scan.best(part.value, queries.halves, k, device_terms)
            estimates = values.astype(np.float64)
            largest = float(np.abs(added[added > -np.inf]).max(initial=0))
            bounds += SUM_ERROR * (scales * part.rows.norm * queries.half_norms + largest)
            bounds[factors != scales] = np.inf
        bounds += mean_errors + DOUBLE_ERROR * np.abs(scales)
        rest = estimates[:, -1] + means + bounds if k < padded else np.full(len(values), -np.inf)
        estimates[numbers >= part.rows.rows] = -np.inf
        return _Found(part.start + numbers, estimates + means[:, None], bounds, rest)

    def _prove(
        self, query: FloatArray, number: int, parts: list[_Found], terms: SlotTerms, k: int
    ) -> tuple[FloatArray, Rows] | None:
        """The best k rows of one query, where no row that was not returned can be one of them."""
        slots = np.concatenate([part.slots[number] for part in parts])
        estimates = np.concatenate([part.estimates[number] for part in parts])
        bounds = np.concatenate([np.full(len(part.slots[number]), part.errors[number]) for part in parts])
        real = np.flatnonzero(estimates > -np.inf)
        if len(real) < k or not np.isfinite(bounds).all():
            return None
        slots, estimates, bounds = slots[real], estimates[real], bounds[real]
        surely = np.partition(estimates - bounds, len(real) - k)[len(real) - k]
        candidates = np.sort(slots[estimates + bounds >= below(float(surely))])
        scores = scores_of(self._store.take, query.astype(np.float64), candidates, terms.offsets)
        best = top(scores, candidates, k)
        least = below(min(float(best[0][-1]), LARGEST_FLOAT32))
        return best if max(float(part.rest[number]) for part in parts) < least else None


def _terms_of(part: _Part, terms: SlotTerms, padded: int) -> FloatArray | None:
    """What is added to the products of the rows of a part (p,): offsets, and -inf where hidden; None for nothing."""
    if terms.allowed is None and terms.offsets is None:
        return None
    rows = part.rows.rows
    strip = slice(part.start, part.start + rows)
    added = np.full(padded, -np.inf, np.float32)
    added[:rows] = 0 if terms.offsets is None else terms.offsets[strip]
    if terms.allowed is not None:
        added[:rows][~terms.allowed[strip]] = -np.inf
    return added
