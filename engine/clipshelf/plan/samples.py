"""Inputs for measurements: a photo, sentences, and random unit rows. They are the same in every run."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from clipshelf.types import FloatArray

SENTENCE = "I love running shoes, especially those with great support and comfort."
_EDGE = 1000  # pixels


def photo() -> bytes:
    """A JPEG of smooth shapes with some grain, 1000x1000 pixels, about as hard to decode as a photograph."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((_EDGE, _EDGE))
    grain = rng.normal(0, 8, (_EDGE, _EDGE, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def sentences(count: int) -> list[str]:
    """Sentences that differ from each other in a number."""
    return [f"{SENTENCE} I am customer {number}." for number in range(count)]


def unit_rows(count: int, dim: int) -> FloatArray:
    """Random rows (count, dim) float32 of unit norm."""
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
