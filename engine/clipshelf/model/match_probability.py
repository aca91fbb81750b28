"""The probability that a picture and a text belong together, for models that were trained to give one.

SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343) was trained to answer this question for every pair by
itself: sigmoid(scale * cosine + bias), with a scale and a bias that it learned. CLIP was trained to find the one text
among many that belongs to a picture, so its cosines give no such probability.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clipshelf.errors import InputError
from clipshelf.types import DoubleArray


def check_gives_probabilities(logits: Mapping[str, float], family: str) -> None:
    """Raise InputError for a model without a trained scale and bias.

    - `logits`: of its manifest.
    - `family`: of its manifest, for the message.
    """
    if not logits:
        raise InputError(
            f"probability: expected a model that was trained to give one, such as a SigLIP, found a {family} without"
        )


def match_probabilities(logits: Mapping[str, float], cosines: DoubleArray) -> DoubleArray:
    """Probabilities, 0 to 1, that pairs of a picture and a text belong together.

    - `logits`: the trained `scale` and `bias`.
    - `cosines`: of the pairs, in any shape, which is that of the result too.
    """
    exponents = -(logits["scale"] * cosines + logits["bias"])
    probabilities: DoubleArray = np.exp(-np.logaddexp(0.0, exponents))  # which overflows for no exponent
    return probabilities
