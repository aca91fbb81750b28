"""The float32 rows that a ranker searches: a matrix that stays where it is, rows added since, rows removed since."""

from __future__ import annotations

import numpy as np

from clipshelf.types import FloatArray, Mask, Rows


class Store:
    """Rows under two numbers: its place, which never changes, and its row, which counts only those not removed.

    Both orders are the same, so ties between rows are ties between places.
    """

    def __init__(self, matrix: FloatArray) -> None:
        self._base: FloatArray = np.asarray(matrix)  # a memory map stays one, without the price of its subclass
        self._extra = np.empty((0, matrix.shape[1]), np.float32)
        self._kept: Rows | None = None  # places of the rows, ascending; None while nothing is removed

    @property
    def dim(self) -> int:
        """D."""
        return int(self._base.shape[1])

    @property
    def places(self) -> int:
        """How many places there are, removed rows included."""
        return len(self._base) + len(self._extra)

    def __len__(self) -> int:
        return self.places if self._kept is None else len(self._kept)

    def runs(self) -> tuple[FloatArray, FloatArray]:
        """The rows of all places, as two matrices one after the other, neither of them a copy."""
        return self._base, self._extra

    def since(self, place: int) -> FloatArray:
        """The rows from a place on (n, D), a copy only where base and extra meet."""
        edge = len(self._base)
        if place >= edge:
            return self._extra[place - edge :]
        return np.concatenate((self._base[place:], self._extra)) if len(self._extra) else self._base[place:]

    def at(self, places: Rows) -> FloatArray:
        """Rows (n, D) at some places (n,), a copy."""
        edge = len(self._base)
        if not len(self._extra):
            return self._base.take(places, axis=0)
        rows = np.empty((len(places), self.dim), np.float32)
        late = places >= edge
        rows[~late] = self._base[places[~late]]
        rows[late] = self._extra[places[late] - edge]
        return rows

    def append(self, rows: FloatArray) -> None:
        """Add rows (n, D) at the end; a copy."""
        if self._kept is not None:
            self._kept = np.concatenate((self._kept, np.arange(self.places, self.places + len(rows))))
        self._extra = np.concatenate((self._extra, rows))

    def drop(self, rows: Rows) -> None:
        """Remove rows by number; those after them move up."""
        kept = np.arange(self.places) if self._kept is None else self._kept
        self._kept = np.delete(kept, rows)

    def allowed(self, mask: Mask | None) -> Mask | None:
        """A mask over rows (N,) as a mask over places, None where all are allowed."""
        if self._kept is None:
            return mask
        places = np.zeros(self.places, np.bool_)
        places[self._kept] = True if mask is None else mask
        return places

    def rows(self, places: Rows) -> Rows:
        """Row numbers of places that are not removed."""
        return places if self._kept is None else np.searchsorted(self._kept, places)
