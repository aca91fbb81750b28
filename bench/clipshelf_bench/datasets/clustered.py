"""Random products around centres, so that each has neighbours as real ones do, and words to look for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.contents import contents_of_rows

WORDS = ("red", "green", "blue", "shoe", "shirt", "watch", "warm", "light", "wool", "boot")
_CENTRES = 200


def clustered_catalogue(engine: Engine, count: int) -> Catalogue:
    """A catalogue of `count` products with two unit sides each, of the width of the engine; ids are positions."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((_CENTRES, 2, engine.dim), np.float32)
    sides = rng.standard_normal((count, 2, engine.dim), np.float32)
    sides += centres[rng.integers(0, _CENTRES, count)]
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    return Catalogue(contents_of_rows(sides.reshape(count, -1)), engine.fingerprint, Path())
