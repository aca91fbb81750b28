"""A review text and a photo become one query row over the joined matrix (N, 2D) of image rows | text rows.

A product's score is a weighted mean of up to four cosines:

    text · product text      text · product image      image · product text      image · product image

All four are linear in the product's rows, so their weights fold into the query and one matmul does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipshelf.errors import InputError
from clipshelf.types import FloatArray


@dataclass(frozen=True)
class Weights:
    """Weight of each cosine, named query side then product side. Only those of the sides that a query has count.

    By default a side counts half across the gap between words and pictures.
    """

    text_text: float = 1.0
    text_image: float = 0.5
    image_text: float = 0.5
    image_image: float = 1.0


def fuse(text: FloatArray | None, image: FloatArray | None, weights: Weights) -> FloatArray:
    """Fold embeddings (D,) of a text, an image or both into one query row (1, 2D) float32.

    Raises InputError when there is neither, or when the weights of what there is sum to nothing.
    """
    sides = [
        (embed, to_image, to_text)
        for embed, to_image, to_text in (
            (text, weights.text_image, weights.text_text),
            (image, weights.image_image, weights.image_text),
        )
        if embed is not None
    ]
    if not sides:
        raise InputError("query: expected a text, an image or both, found neither")
    total = sum(to_image + to_text for _, to_image, to_text in sides)
    if total <= 0:
        raise InputError(f"weights: expected a positive sum for the sides of this query, found {total}")
    image_side = sum(to_image * embed for embed, to_image, _ in sides)
    text_side = sum(to_text * embed for embed, _, to_text in sides)
    return (np.concatenate((image_side, text_side))[None] / total).astype(np.float32)
