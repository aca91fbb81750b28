"""The float32 rows that a ranker searches: a matrix that stays where it is, rows added since, rows removed since."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clipshelf.types import FloatArray, Mask, Rows


class SlotTerms(NamedTuple):
    """What a search says of each slot: whether it may be returned, and what is added to its inner products."""

    allowed: Mask | None
    offsets: FloatArray | None


class RowStore:
    """Rows of D numbers, each with a slot, which never changes, and a row number, which counts only rows not removed.

    Slots and row numbers are in the same order, so ties between rows are ties between slots.

    - `matrix`: (N, D) float32, not copied; it takes the slots 0 to N - 1.
    """

    def __init__(self, matrix: FloatArray) -> None:
        self._base: FloatArray = np.asarray(matrix)  # a memory map stays mapped, without its slower subclass
        self._added = np.empty((0, matrix.shape[1]), np.float32)
        self._slots: Rows | None = None  # the slot of each row, ascending; None while nothing is removed

    @property
    def dim(self) -> int:
        """D."""
        return int(self._base.shape[1])

    @property
    def slot_count(self) -> int:
        """How many slots there are, those of removed rows included."""
        return len(self._base) + len(self._added)

    def __len__(self) -> int:
        return self.slot_count if self._slots is None else len(self._slots)

    def matrices(self) -> tuple[FloatArray, FloatArray]:
        """The contents of all slots, as two matrices one after the other, neither of them a copy."""
        return self._base, self._added

    def from_slot(self, slot: int) -> FloatArray:
        """The contents (n, D) of a slot and all later ones, a copy only where both matrices have a share."""
        edge = len(self._base)
        if slot >= edge:
            return self._added[slot - edge :]
        return np.concatenate((self._base[slot:], self._added)) if len(self._added) else self._base[slot:]

    def take(self, slots: Rows) -> FloatArray:
        """The contents (n, D) of slots (n,), a copy."""
        edge = len(self._base)
        if not len(self._added):
            return self._base.take(slots, axis=0)
        rows = np.empty((len(slots), self.dim), np.float32)
        in_added = slots >= edge
        rows[~in_added] = self._base[slots[~in_added]]
        rows[in_added] = self._added[slots[in_added] - edge]
        return rows

    def append(self, rows: FloatArray) -> None:
        """Add a copy of rows (n, D) at the end, in new slots."""
        if self._slots is not None:
            self._slots = np.concatenate((self._slots, np.arange(self.slot_count, self.slot_count + len(rows))))
        self._added = np.concatenate((self._added, rows))

    def remove(self, rows: Rows) -> None:
        """Remove rows (n,) by row number; those after them move up."""
        slots = np.arange(self.slot_count) if self._slots is None else self._slots
        self._slots = np.delete(slots, rows)

    def slot_mask(self, mask: Mask | None) -> Mask | None:
        """A mask over rows (N,) as a mask over slots, None where all are allowed."""
        if self._slots is None:
            return mask
        allowed = np.zeros(self.slot_count, np.bool_)
        allowed[self._slots] = True if mask is None else mask
        return allowed

    def slot_offsets(self, offsets: FloatArray | None) -> FloatArray | None:
        """Offsets of rows (N,) as offsets of slots, None where there are none."""
        if offsets is None or self._slots is None:
            return offsets
        by_slot = np.zeros(self.slot_count, np.float32)
        by_slot[self._slots] = offsets
        return by_slot

    def rows_of(self, slots: Rows) -> Rows:
        """The row numbers of slots whose rows are not removed, in an array of the same shape."""
        return slots if self._slots is None else np.searchsorted(self._slots, slots)
