from __future__ import annotations

import numpy as np
from clipshelf_bench.contenders.base import MEAN, STD, normalise_pixels
from clipshelf_bench.contenders.roster import CONTENDERS


def test_pixels_are_normalised_as_clip_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    expected = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    assert np.allclose(normalise_pixels(pixels), expected, atol=1e-5)


def test_contenders_have_different_names_and_do_something() -> None:
    names = [contender.name for contender in CONTENDERS]
    assert len(set(names)) == len(names)
    assert all(contender().tasks() and contender.description for contender in CONTENDERS)
