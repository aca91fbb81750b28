"""Scores taken apart by picture and by text, of products that have several on one side.

A contribution through a side with the row y is <x, y - mean>, x being what a signal has against that side. The row is
pooled, y = sum c[i] u[i] (`clipshelf.catalogue.side_parts`). With s[i] = c[i] / sum c, part i adds

    c[i] <x, u[i]> - s[i] <x, mean>

The parts sum to the contribution, but for the rounding of y to float32, which is shared by s. The picture that fits
best is the one of the highest <x, u[i]>, summed over the signals: the order of pictures does not count for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipshelf.catalogue.product_sides import pictures_of
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import IMAGE, TEXT
from clipshelf.types import DoubleArray, Product


@dataclass(frozen=True)
class SideShares:
    """What the n parts of one side of a product add.

    - `paths`: of n pictures, None for one that is no file, and for texts.
    - `values`: (S, n) by signal.
    - `fits`: (n,) how well each part fits the query, whatever its place; comparable within the side.
    """

    paths: Sequence[str | None]
    values: DoubleArray
    fits: DoubleArray

    @property
    def best_file(self) -> int | None:
        """The index of the picture that fits best among those that are files, None where none is."""
        order = np.argsort(-self.fits, kind="stable").tolist()
        return next((i for i in order if self.paths[i]), None)


def has_parts(record: Product) -> bool:
    """Whether a product may have several pictures or texts."""
    return isinstance(record.get("image"), list) or isinstance(record.get("text"), list)


def side_shares(
    directions: DoubleArray,
    means: DoubleArray,
    by_side: DoubleArray,
    record: Product,
    *,
    parts: SideParts,
    position: int,
) -> dict[int, SideShares]:
    """Take the contributions of one product apart.

    - `directions`: (S, 2, D), x of each signal against either side.
    - `means`: (2, D) of the sides.
    - `by_side`: (S, 2) the contributions.
    - `record`: of the product; it names its pictures.
    - `parts`, `position`: the parts of several products, and which of them it is.

    Returns the shares by side, of those that have several parts.
    """
    shares: dict[int, SideShares] = {}
    for side in (IMAGE, TEXT):
        found = int(parts.find(np.array([position]), side)[0])
        if found < 0:
            continue
        span = parts.span(found)
        coefficients = parts.coefficients[span]
        weights = coefficients / coefficients.sum()
        x = directions[:, side]
        dots = x @ parts.embeds[span].astype(np.float64).T
        values = dots * coefficients - np.outer(x @ means[side], weights)
        values += np.outer(by_side[:, side] - values.sum(axis=1), weights)
        paths: list[Any] = pictures_of(record)[: len(weights)] if side == IMAGE else []
        paths += [None] * (len(weights) - len(paths))
        shares[side] = SideShares(paths, values, dots.sum(axis=0))
    return shares
