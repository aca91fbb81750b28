"""The parts of sides of a generation on disk, where products have any: a file for each of the arrays of `side_parts`.

parts-owners.<gen>.npy        int64 (M, 2), the row and the side of each side that has several parts
parts-starts.<gen>.npy        int64 (M + 1,), where the parts of each side start, and the end
parts-embeds.<gen>.npy        float32 (P, D), their embeddings
parts-coefficients.<gen>.npy  float64 (P,), their coefficients
parts-keys.<gen>.npy          uint8 (P, 16), the keys of their content
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.content_keys import KEY_SIZE
from clipshelf.catalogue.disk.checksummed import BlockReader
from clipshelf.catalogue.side_parts import MAX_PARTS, SideParts
from clipshelf.errors import CatalogueError

PART_ROLES = tuple(f"parts-{name}" for name in ("owners", "starts", "embeds", "coefficients", "keys"))


def part_arrays(parts: SideParts) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The role of each file, and its array; none where no side has several parts."""
    if len(parts):
        arrays = (parts.owners, parts.starts, parts.embeds, parts.coefficients, parts.keys)
        yield from zip(PART_ROLES, arrays, strict=True)


def read_parts(readers: Mapping[str, BlockReader], count: int, dim: int, falloff: float) -> SideParts:
    """Open the parts of N products, memory-mapped, and check them, so that no answer finds one that is not there.

    - `count`, `dim`: N and D.
    - `falloff`: as in `SideParts`.

    Raises CatalogueError naming the file that is not as one is written.
    """
    if not any(role in readers for role in PART_ROLES):
        return SideParts(falloff)
    for role in PART_ROLES:
        if role not in readers:
            raise CatalogueError(f"manifest.json: files: expected one of {role}, found none")
    owners, starts, embeds, coefficients, keys = (readers[role] for role in PART_ROLES)
    parts = SideParts(
        falloff,
        np.asarray(owners.array(["<i8"], (None, 2))),
        np.asarray(starts.array(["<i8"], (None,))),
        np.asarray(embeds.array(["<f4"], (None, dim))),
        np.asarray(coefficients.array(["<f8"], (None,))),
        np.asarray(keys.array([np.uint8], (None, KEY_SIZE))),
    )
    if problem := _problem(parts, count):
        raise CatalogueError(f"{owners.path}: expected the parts of sides of {count} products, found {problem}")
    return parts


def _problem(parts: SideParts, count: int) -> str:
    """What is wrong with parts, "" for nothing."""
    lengths = np.diff(parts.starts)
    if len(parts.starts) != len(parts) + 1 or len({len(parts.embeds), len(parts.coefficients), len(parts.keys)}) > 1:
        return "arrays of other lengths"
    if parts.starts[0] != 0 or parts.starts[-1] != len(parts.embeds):
        return "starts that leave out parts"
    if len(parts) and (lengths.min() < 2 or lengths.max() > MAX_PARTS):
        return f"sides of {lengths.min()} to {lengths.max()} parts"
    if ((parts.owners < 0) | (parts.owners >= [count, 2])).any() or (np.diff(parts.numbers) <= 0).any():
        return "owners that are not sides in ascending order"
    if not (np.isfinite(parts.coefficients).all() and np.isfinite(parts.embeds.sum(dtype=np.float64))):
        return "numbers that are not finite"
    return ""
