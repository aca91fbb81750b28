"""The signals of a query: embedded texts and pictures, and products of the catalogue, each with a weight.

A text has a text side, a picture an image side, a product both or one of them. Texts share the weight of texts, and
pictures that of pictures. Signals of one group (liked, disliked, history) with strengths h weigh

    2 h / (1 + sum |h|)  times the group's weight

so that one like of strength 1 counts as its weight says, and a group counts at most twice, whatever its size. Dislikes
count negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clipshelf.catalogue.statistics import IMAGE, TEXT
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.weights import Weights
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

_FADED = 1e-9  # strength of events that do not count any more: thirty half-lives after a purchase


@dataclass(frozen=True)
class Signals:
    """S signals, of which the first E are embedded texts and pictures, and the others products of the catalogue.

    - `names`: of each signal its kind and the id of its product, None for texts and pictures.
    - `weights`: (S,).
    - `embeds`: (E, 2, D) sides of texts and pictures, image then text; `present` (E, 2) says which of them exist.
    - `rows`: (S - E,) rows of the products.
    """

    names: tuple[tuple[str, str | None], ...]
    weights: DoubleArray
    embeds: FloatArray
    present: Mask
    rows: Rows


def product_weights(taste: Profile, weights: Weights, now: float, half_life: float) -> dict[tuple[str, str], float]:
    """Weights of a person's products by (kind, id), without those that are 0 or have faded.

    - `now`, `half_life`: in seconds; events of the same kind with the same product add up, each faded by its age.
    """
    events: dict[tuple[str, str], float] = {}
    for event in taste.history:
        key = (event.kind, event.id)
        events[key] = events.get(key, 0.0) + event.faded(now, half_life)
    groups = (
        (weights.liked, [(("liked", id_), strength) for id_, strength in sorted(taste.liked.items())]),
        (-weights.disliked, [(("disliked", id_), strength) for id_, strength in sorted(taste.disliked.items())]),
        (weights.history, sorted(item for item in events.items() if abs(item[1]) > _FADED)),
    )
    weight_of: dict[tuple[str, str], float] = {}
    for group_weight, strengths in groups:
        share = 2 * group_weight / (1 + sum(abs(strength) for _, strength in strengths))
        weight_of |= {key: weight for key, strength in strengths if (weight := share * strength)}
    return weight_of


def collect_signals(
    texts: FloatArray,
    images: FloatArray,
    products: Mapping[tuple[str, str], float],
    rows: Rows,
    weights: Weights,
) -> Signals:
    """Signals of embedded texts (t, D) and pictures (i, D), and of products with their weights and rows (p,)."""
    count = len(texts) + len(images)
    embeds, present = np.zeros((count, 2, texts.shape[1]), np.float32), np.zeros((count, 2), np.bool_)
    if count:
        embeds[: len(texts), TEXT], embeds[len(texts) :, IMAGE] = texts, images
        present[: len(texts), TEXT] = present[len(texts) :, IMAGE] = True
    shares = [weights.text / len(texts)] * len(texts) if len(texts) else []
    shares += [weights.image / len(images)] * len(images) if len(images) else []
    return Signals(
        (*_numbered("text", len(texts)), *_numbered("image", len(images)), *products),
        np.array([*shares, *products.values()], np.float64),
        embeds,
        present,
        rows,
    )


def _numbered(kind: str, count: int) -> list[tuple[str, str | None]]:
    return [(kind if count == 1 else f"{kind} {i}", None) for i in range(1, count + 1)]
