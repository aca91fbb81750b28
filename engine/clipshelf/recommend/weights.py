"""How much each kind of signal counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.messages import shorten_list
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.recommend.arguments import LEAST, MOST, is_number
from clipshelf.types import DoubleArray


@dataclass(frozen=True)
class Weights:
    """Weight of each kind of signal, and of each of the four cosines.

    A cosine counts by the weight of its signal times the weight of its pair of sides.

    - `text`, `image`: all texts and all pictures of a query.
    - `liked`, `disliked`, `history`: a product of that kind. A liked product has two sides, so that half of a text's
      weight makes it count as much. A dislike says less about what is wanted, so it counts a fifth of a like.
    - `words`, `fresh`: words that match and freshness, on the scale of scores (`clipshelf.recommend.boosts`); they are
      added to the weighted mean of the cosines.
    - `text_text`, `text_image`, `image_text`, `image_image`: side of the query, then side of the product. A cosine
      between words and pictures counts half.

    `docs/quality.md` has the measurements behind the defaults. Raises InputError on a weight that is neither 0 nor a
    number from 1e-9 to 1e9.
    """

    text: float = 1.0
    image: float = 1.0
    liked: float = 0.5
    disliked: float = 0.1
    history: float = 0.5
    words: float = 3.0
    fresh: float = 0.5
    text_text: float = 1.0
    text_image: float = 0.5
    image_text: float = 0.5
    image_image: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not is_number(value) or not (value == 0 or LEAST <= value <= MOST):
                usable = is_number(value) and 0 < value < math.inf
                hint = f"; weights are 0 or from {LEAST:g} to {MOST:g}" if usable else ""
                raise InputError(f"weights: {field.name}: expected a number from 0 on, found {describe(value)}{hint}")

    @classmethod
    def of(cls, changes: Weights | Mapping[str, float] | None, default: Weights) -> Weights:
        """`default` with the weights that `changes` names.

        - `changes`: a mapping of names to weights; or all weights, which then replace `default`; or None.

        Raises InputError for an unknown name or an unusable weight.
        """
        if changes is None or isinstance(changes, cls):
            return changes or default
        names = [field.name for field in fields(cls)]
        if not isinstance(changes, Mapping):
            raise InputError(f"weights: expected a dict of {', '.join(names)}, found {type(changes).__name__}")
        unknown = set(changes) - set(names)
        if unknown:
            raise InputError(
                f"weights: expected {', '.join(names)}, found {shorten_list(sorted(map(describe, unknown)))}"
            )
        return replace(default, **changes)

    @cached_property
    def cosines(self) -> DoubleArray:
        """(2, 2) weights of the cosines: side of the query by side of the product, image then text."""
        return np.array([[self.image_image, self.image_text], [self.text_image, self.text_text]], np.float64)

    @property
    def reads_texts(self) -> bool:
        """Whether a text of a query can change a score."""
        return bool(self.text and (self.text_image or self.text_text))

    @property
    def reads_images(self) -> bool:
        """Whether a picture of a query can change a score."""
        return bool(self.image and (self.image_image or self.image_text))
