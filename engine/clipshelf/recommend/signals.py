"""The signals of a query, and how they become one row over the joined matrix (N, 2D) of image rows | text rows.

A text has a text side, a picture an image side, a product both or one of them. With weight w of signal s, W of the
cosine between query side a and product side b, and z that cosine on the catalogue's scale
(`clipshelf.catalogue.statistics`), the score of product p is the weighted mean over all s, a and b that exist

    score(p) = sum w[s] W[a, b] z[s, a, p, b]  /  sum |w[s]| W[a, b]

Every z is linear in the product's rows, so for all products that have both sides it is one row times the joined matrix,
less a constant. A product that lacks a side is scored by the part of the row for the other, times a factor that
`clipshelf.recommend.calibration` explains.

Signals of one group (liked, disliked, history) with strengths h weigh 2 h / (1 + sum |h|) times the group's weight: one
like of strength 1 counts as said, and however many come, the group counts at most twice. Texts share their weight, and
so do pictures. Dislikes count negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import IMAGE, TEXT, Statistics
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Weights
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows

_CHUNK = 64  # queries


@dataclass(frozen=True)
class Signals:
    """S signals: names as (kind, id), the id None for texts and pictures; weights (S,); and where their sides are.

    The first come from `free` (F, 2, D), image then text, with `sides` (F, 2) saying which exist; the others are
    products, `rows` (S - F,) of the catalogue.
    """

    names: tuple[tuple[str, str | None], ...]
    weights: DoubleArray
    free: FloatArray
    sides: Mask
    rows: Rows


@dataclass(frozen=True)
class Fused:
    """One query: its `row` (2, D) against image and text rows, and the `mass` (2,) of weights on either.

    `row @ centred product` is the score of a product with both sides.
    """

    row: DoubleArray
    mass: DoubleArray


def centred(rows: Rows, catalogue: Catalogue, statistics: Statistics) -> DoubleArray:
    """Sides (n, 2, D) of some products on the catalogue's scale, as `Fused` wants them; 0 where one is missing."""
    sides = catalogue.embeddings[rows].reshape(len(rows), 2, catalogue.dim)
    return (sides - statistics.means) * catalogue.present[rows][:, :, None]


def fuse(
    signals: Sequence[Signals], weights: Sequence[Weights], catalogue: Catalogue, statistics: Statistics
) -> list[Fused]:
    """The signals of each query as one row. The mass is 0 where no weight is left."""
    if not signals:
        return []
    pushes, masses = _amounts(signals, catalogue)
    centred = np.array(list(_pulls(signals, catalogue))) - pushes[:, :, None] * statistics.means  # by query side
    cosines = np.array([each.cosines for each in weights]).transpose(0, 2, 1)  # product side by query side
    masses = np.matmul(cosines, masses[:, :, None])[:, :, 0]
    rows = np.matmul(cosines / statistics.spreads.T, centred)
    totals = masses.sum(axis=1)
    rows /= np.where(totals, totals, 1.0)[:, None, None]
    return list(map(Fused, rows, masses))


def _pulls(signals: Sequence[Signals], catalogue: Catalogue) -> Iterator[DoubleArray]:
    """Of each query the sum of its sides (2, D) times weights.

    The rows of all products are fetched at once, but for a share of the queries at a time, so that they stay few.
    """
    for start in range(0, len(signals), _CHUNK):
        some = signals[start : start + _CHUNK]
        embeds = catalogue.embeddings[np.concatenate([each.rows for each in some])].astype(np.float64)
        stop = 0
        for each in some:
            place, stop, free = stop, stop + len(each.rows), len(each.free)
            pull = each.weights[free:] @ embeds[place:stop]
            if free:
                pull += each.weights[:free] @ each.free.reshape(free, -1)
            yield pull.reshape(2, -1)


def _amounts(signals: Sequence[Signals], catalogue: Catalogue) -> tuple[DoubleArray, DoubleArray]:
    """Of each query the sums of its weights, and of their amounts, on either side (Q, 2)."""
    weights = np.concatenate([each.weights for each in signals])
    lines = np.arange(len(signals)).repeat([len(each.weights) for each in signals])
    has = np.concatenate([part for each in signals for part in (each.sides, catalogue.present[each.rows])])
    sums: list[DoubleArray] = [
        np.stack([np.bincount(lines, part * has[:, side], len(signals)) for side in (IMAGE, TEXT)], axis=1)
        for part in (weights, np.abs(weights))
    ]
    return sums[0], sums[1]


def product_signals(taste: Profile, weights: Weights, now: float, half_life: float) -> dict[tuple[str, str], float]:
    """Weights of a person's products by (kind, id), none of them 0; the same product and kind add up."""
    events: dict[tuple[str, str], float] = {}
    for event in taste.history:
        key = (event.kind, event.id)
        events[key] = events.get(key, 0.0) + event.faded(now, half_life)
    groups = (
        (weights.liked, [(("liked", id_), strength) for id_, strength in sorted(taste.liked.items())]),
        (-weights.disliked, [(("disliked", id_), strength) for id_, strength in sorted(taste.disliked.items())]),
        (weights.history, sorted(events.items())),
    )
    found: dict[tuple[str, str], float] = {}
    for weight, strengths in groups:
        share = 2 * weight / (1 + sum(abs(strength) for _, strength in strengths))
        found |= {key: amount for key, strength in strengths if (amount := share * strength)}
    return found


def collect(
    texts: FloatArray,
    images: FloatArray,
    products: Mapping[tuple[str, str], float],
    rows: Rows,
    weights: Weights,
) -> Signals:
    """Signals of embedded texts (t, D) and images (i, D), and of products with their weights and rows (p,)."""
    count = len(texts) + len(images)
    free, sides = np.zeros((count, 2, texts.shape[1]), np.float32), np.zeros((count, 2), np.bool_)
    if count:
        free[: len(texts), TEXT], free[len(texts) :, IMAGE] = texts, images
        sides[: len(texts), TEXT] = sides[len(texts) :, IMAGE] = True
    shares = [weights.text / len(texts)] * len(texts) if len(texts) else []
    shares += [weights.image / len(images)] * len(images) if len(images) else []
    return Signals(
        (*_numbered("text", len(texts)), *_numbered("image", len(images)), *products),
        np.array([*shares, *products.values()], np.float64),
        free,
        sides,
        rows,
    )


def _numbered(kind: str, count: int) -> list[tuple[str, str | None]]:
    return [(kind if count == 1 else f"{kind} {i}", None) for i in range(1, count + 1)]
