"""What changes from one state of a catalogue to the next, and the guard against a state that has lost too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import KeyIndex
from clipshelf.catalogue.contents import Contents, present_sides
from clipshelf.errors import CatalogueError, InputError
from clipshelf.types import Rows

# The share of what a catalogue has that may go without having been named, where the caller says nothing.
DEFAULT_SHRINK = 0.1
_RECORDS_COMPARED = 1 << 12


@dataclass(frozen=True)
class Changes:
    """What changed in a catalogue: numbers of products, and of the pictures and texts that they gained or lost.

    - `added`, `replaced`, `removed`, `unchanged`: products that are new, have another record, text or picture, are
      gone, or are as they were.
    - `pictures_gained`, `pictures_lost`: how many more pictures products have than they had, summed over those that
      have more, and how many fewer. Those of added and removed products count too.
    - `texts_gained`, `texts_lost`: the same for texts.
    """

    added: int = 0
    replaced: int = 0
    removed: int = 0
    unchanged: int = 0
    pictures_gained: int = 0
    pictures_lost: int = 0
    texts_gained: int = 0
    texts_lost: int = 0

    @classmethod
    def between(cls, old: Contents | None, new: Contents) -> Changes:
        """Compare two states by ids and content; None stands for no products."""
        if old is None:
            pictures, texts = _counts(new).sum(axis=0).tolist()
            return cls(added=len(new), pictures_gained=pictures, texts_gained=texts)
        rows = _rows_in(old, new)
        stay = np.flatnonzero(rows >= 0)
        same = _count_equal(old, new, rows[stay], stay)
        before, after = _counts(old), _counts(new)
        at_both = np.zeros_like(before)
        at_both[rows[stay]] = after[stay]
        lost = np.maximum(before - at_both, 0).sum(axis=0).tolist()
        gained = (after.sum(axis=0) - np.minimum(before, at_both).sum(axis=0)).tolist()
        return cls(
            added=len(new) - len(stay),
            replaced=len(stay) - same,
            removed=len(old) - len(stay),
            unchanged=same,
            pictures_gained=gained[0],
            pictures_lost=lost[0],
            texts_gained=gained[1],
            texts_lost=lost[1],
        )

    def __str__(self) -> str:
        parts = [", ".join(f"{getattr(self, name)} {name}" for name in ("added", "replaced", "removed", "unchanged"))]
        for side in ("pictures", "texts"):
            numbers = {event: getattr(self, f"{side}_{event}") for event in ("gained", "lost")}
            if any(numbers.values()):
                parts.append(
                    f"{side}: " + ", ".join(f"{number} {event}" for event, number in numbers.items() if number)
                )
        return "; ".join(parts)


@dataclass(frozen=True)
class Losses:
    """What a state of a catalogue has no more: products, pictures and texts that nobody named."""

    products: int = 0
    pictures: int = 0
    texts: int = 0

    @classmethod
    def between(cls, old: Contents, new: Contents) -> Losses:
        """Compare two states by ids and sides."""
        rows = _rows_in(old, new)
        stay = np.flatnonzero(rows >= 0)
        before, after = _counts(old), np.zeros((len(old), 2), np.int64)
        after[rows[stay]] = _counts(new)[stay]
        pictures, texts = np.maximum(before - after, 0).sum(axis=0).tolist()
        return cls(len(old) - len(stay), pictures, texts)

    def __add__(self, other: Losses) -> Losses:
        return Losses(self.products + other.products, self.pictures + other.pictures, self.texts + other.texts)

    def check(self, old: Sequence[Contents], allow_shrink: float, folder: object) -> None:
        """Raise CatalogueError if more than the share `allow_shrink` of what was there is lost.

        - `old`: what was there, in one part or several.
        - `folder`: that of the catalogue, for the message.
        """
        counts = {"products": sum(map(len, old))}
        if self.pictures or self.texts:
            counts["pictures"], counts["texts"] = sum(_counts(part).sum(axis=0) for part in old).tolist()
        for name, count in counts.items():
            lost = getattr(self, name)
            if lost > allow_shrink * count:
                raise CatalogueError(
                    f"{folder}: expected at most {allow_shrink:.0%} of the catalogue's {count} {name} to go, found "
                    f"that {lost} would be gone; it stays as it was. --allow-shrink 1, or allow_shrink=1, lets them go"
                )


NO_LOSSES = Losses()


def check_allow_shrink(allow_shrink: Any) -> None:
    """Raise InputError unless `allow_shrink` is a share from 0 to 1."""
    if isinstance(allow_shrink, bool) or not isinstance(allow_shrink, (int, float)) or not 0 <= allow_shrink <= 1:
        raise InputError(f"allow_shrink: expected a share from 0 to 1, found {allow_shrink!r}")


def _rows_in(old: Contents, new: Contents) -> Rows:
    """(n,) the row in `old` of each product of `new`, -1 for one that is new."""
    return KeyIndex(old.keys[:, 0]).find(new.keys[:, 0])


def _counts(contents: Contents) -> Rows:
    """(N, 2) numbers of pictures and texts of N products."""
    return contents.parts.counts(present_sides(contents.embeddings))


def _count_equal(old: Contents, new: Contents, old_rows: Rows, new_rows: Rows) -> int:
    """How many of n products have the same record, picture and text in both."""
    before, after = old.keys[old_rows, 1:], new.keys[new_rows, 1:]
    same = (before == after).all(axis=(1, 2))
    # Content without a key, such as a picture in memory, is compared by its embedding.
    unclear = np.flatnonzero(same & (present_sides(new.embeddings)[new_rows] & ~after.any(axis=2)).any(axis=1))
    same[unclear] = old.dim == new.dim and (
        (old.embeddings[old_rows[unclear]] == new.embeddings[new_rows[unclear]]).all(axis=1)
    )
    count = 0
    for start in range(0, len(old_rows), _RECORDS_COMPARED):
        part = np.flatnonzero(same[start : start + _RECORDS_COMPARED]) + start
        pairs: Sequence[tuple[Any, Any]] = list(
            zip(old.records(old_rows[part]), new.records(new_rows[part]), strict=True)
        )
        count += sum(one == other for one, other in pairs)
    return count
