"""The parts of sides: the pictures of products that have several, and their texts.

A side of a product is one row of the matrix. A side of several parts has the mean of their embeddings u[i], weighted by
their order and of unit norm, as the parts of a long text are pooled:

    row = sum c[i] u[i],   c[i] = w[i] / || sum w[j] u[j] ||,   w[i] = falloff ** i

Embeddings and coefficients c stay with the products, so that a score can be taken apart by picture and by text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.content_keys import KEY_SIZE, Keys
from clipshelf.errors import InputError
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

FALLOFF = 0.7
MAX_PARTS = 1_000  # of one side
# A mean that is shorter, as a share of the weights, has no direction beside the rounding of float32.
_SHORTEST_MEAN = 1e-6
_ARRAYS = ("embeds", "coefficients", "keys")


@dataclass(frozen=True, eq=False)
class SideParts:
    """The P parts of M sides that have more than one.

    - `falloff`: how much each part counts beside the one before it, above 0 to 1.
    - `owners`: (M, 2) int64, the product's row and the side, 0 for images and 1 for texts; ascending.
    - `starts`: (M + 1,) int64, where the parts of each side start, and the end.
    - `embeds`: (P, D) float32 unit rows.
    - `coefficients`: (P,) float64 c, see the module.
    - `keys`: (P, 16) uint8 keys of the pictures and texts.
    """

    falloff: float = FALLOFF
    owners: Rows = field(default_factory=lambda: np.empty((0, 2), np.int64))
    starts: Rows = field(default_factory=lambda: np.zeros(1, np.int64))
    embeds: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    coefficients: DoubleArray = field(default_factory=lambda: np.empty(0))
    keys: Keys = field(default_factory=lambda: np.empty((0, KEY_SIZE), np.uint8))

    @classmethod
    def of(cls, falloff: float, sides: Mapping[tuple[int, int], PooledSide]) -> SideParts:
        """The parts of pooled sides, by row and side."""
        if not sides:
            return cls(falloff)
        owners = sorted(sides)
        pooled = [sides[owner] for owner in owners]
        starts = np.cumsum([0, *(len(side.embeds) for side in pooled)], dtype=np.int64)
        joined = (np.concatenate([getattr(side, name) for side in pooled]) for name in _ARRAYS)
        return cls(falloff, np.array(owners, np.int64), starts, *joined)

    @classmethod
    def joined(cls, each: Sequence[SideParts], counts: Sequence[int]) -> SideParts:
        """The parts of the products of several, one after the other; `counts` are their numbers of products."""
        firsts = np.cumsum([0, *counts], dtype=np.int64).tolist()
        pieces = [
            (parts, np.arange(len(parts)), parts.numbers + 2 * first)
            for parts, first in zip(each, firsts, strict=False)
        ]
        return _merge(each[0].falloff if each else FALLOFF, pieces)

    def __len__(self) -> int:
        """M, the number of sides."""
        return len(self.owners)

    def find(self, rows: Rows, side: int) -> Rows:
        """Return the (n,) int64 positions among the M sides of a side of n products, -1 for a side of one part."""
        if not len(self):
            return np.full(len(rows), -1, np.int64)
        wanted = 2 * np.asarray(rows, np.int64) + side
        positions = np.searchsorted(self.numbers, wanted)
        positions[positions == len(self)] = 0
        return np.where(self.numbers[positions] == wanted, positions, -1)

    def span(self, position: int) -> slice:
        """The parts of the side at a position, from 0 to M - 1."""
        return slice(int(self.starts[position]), int(self.starts[position + 1]))

    def counts(self, present: Mask) -> Rows:
        """Return (N, 2) int64 numbers of parts of N products whose sides are `present` (N, 2)."""
        counts = present.astype(np.int64)
        counts[self.owners[:, 0], self.owners[:, 1]] = np.diff(self.starts)
        return counts

    def take(self, rows: Rows) -> SideParts:
        """The parts of n products, whose rows are their positions in `rows` then."""
        found = [self.find(rows, side) for side in (0, 1)]
        numbers = [2 * np.flatnonzero(positions >= 0) + side for side, positions in enumerate(found)]
        chosen = np.concatenate([positions[positions >= 0] for positions in found])
        return _merge(self.falloff, [(self, chosen, np.concatenate(numbers))])

    def append(self, other: SideParts, count: int) -> SideParts:
        """These parts, of `count` products, and those of the products that follow."""
        if not len(other):
            return self
        return _merge(self.falloff, [_whole(self), (other, np.arange(len(other)), other.numbers + 2 * count)])

    def replace(self, rows: Rows, new: SideParts, changed: Mask) -> SideParts:
        """These parts with some sides of n products replaced.

        - `rows`: (n,) different rows of the products, in the order that `new` has them.
        - `changed`: (n, 2) bool, which of their sides are those of `new`.
        """
        gone = np.concatenate([self.find(rows[changed[:, side]], side) for side in (0, 1)])
        stays = np.ones(len(self), bool)
        stays[gone[gone >= 0]] = False
        comes = np.flatnonzero(changed[new.owners[:, 0], new.owners[:, 1]])
        if stays.all() and not len(comes):
            return self
        numbers = 2 * rows[new.owners[comes, 0]] + new.owners[comes, 1]
        stay = np.flatnonzero(stays)
        return _merge(self.falloff, [(self, stay, self.numbers[stay]), (new, comes, numbers)])

    @cached_property
    def numbers(self) -> Rows:
        """(M,) int64, 2 row + side of each side, ascending."""
        return 2 * np.asarray(self.owners[:, 0], np.int64) + self.owners[:, 1]


NO_PARTS = SideParts()


@dataclass(frozen=True, eq=False)
class PooledSide:
    """A side of n parts.

    - `row`: (D,) float32 of unit norm, that of the side.
    - `embeds`, `coefficients`, `keys`: (n, D), (n,) and (n, 16), of its parts, as in `SideParts`.
    """

    row: FloatArray
    embeds: FloatArray
    coefficients: DoubleArray
    keys: Keys


def pool_side(embeds: FloatArray, keys: Keys, falloff: float) -> PooledSide:
    """Pool the unit embeddings (n, D) of n parts, as the module says; `keys` (n, 16) are those of the parts.

    Parts that cancel each other out have no mean; the first one stands for all then.
    """
    weights = falloff ** np.arange(len(embeds), dtype=np.float64)
    total = weights @ embeds.astype(np.float64)
    norm = float(np.linalg.norm(total))
    if norm < _SHORTEST_MEAN * weights.sum():
        return PooledSide(embeds[0], embeds, np.eye(1, len(embeds))[0], keys)
    return PooledSide((total / norm).astype(np.float32), embeds, weights / norm, keys)


def check_falloff(falloff: object) -> float:
    """Return a falloff as a float; raises InputError unless it is a number above 0, and at most 1."""
    if isinstance(falloff, bool) or not isinstance(falloff, (int, float)) or not 0 < falloff <= 1:
        raise InputError(f"falloff: expected a number above 0 to 1, found {falloff!r:.80}")
    return float(falloff)


_Piece = tuple[SideParts, Rows, Rows]


def _whole(parts: SideParts) -> _Piece:
    return parts, np.arange(len(parts)), parts.numbers


def _merge(falloff: float, pieces: Sequence[_Piece]) -> SideParts:
    """The parts of sides of other parts: positions among them (m,), and the numbers (m,) that the sides get."""
    pieces = [piece for piece in pieces if len(piece[1])]
    if not pieces:
        return SideParts(falloff)
    numbers = np.concatenate([numbers for _, _, numbers in pieces])
    order = np.argsort(numbers)
    bases = np.cumsum([0, *(len(parts.embeds) for parts, _, _ in pieces)])
    starts = np.concatenate([parts.starts[at] + base for (parts, at, _), base in zip(pieces, bases, strict=False)])
    lengths = np.concatenate([np.diff(parts.starts)[at] for parts, at, _ in pieces])[order]
    ends = np.cumsum(lengths)
    # Each part's index: the start of its side in the pieces, and its position within the side.
    index = np.repeat(starts[order] - (ends - lengths), lengths) + np.arange(ends[-1])
    joined = [np.concatenate([getattr(parts, name) for parts, _, _ in pieces]) for name in _ARRAYS]
    owners = np.stack([numbers[order] // 2, numbers[order] % 2], axis=1)
    return SideParts(falloff, owners, np.append(0, ends), *(array[index] for array in joined))
