"""Metrics of ranked lists, one value a session.

Binary relevance: a product was chosen or not. Recall and NDCG as in Järvelin and Kekäläinen, 2002
(doi:10.1145/582415.582418); novelty as the self-information of Zhou et al., 2010 (doi:10.1073/pnas.1000488107).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clipshelf.types import DoubleArray, Mask, Rows

SESSION_METRICS = ("recall", "ndcg", "mrr", "novelty")
METRICS = (*SESSION_METRICS, "coverage")


def padded(lists: Iterable[Sequence[int]]) -> Rows:
    """Lists of rows as one (S, n) int64 array; shorter ones end in -1."""
    listed = list(lists)
    array: Rows = np.full((len(listed), max(map(len, listed), default=0)), -1, np.int64)
    for line, rows in zip(array, listed, strict=True):
        line[: len(rows)] = rows
    return array


def session_metrics(ranked: Rows, targets: Rows, information: DoubleArray, k: int) -> DoubleArray:
    """The metrics of S sessions, (S, 4) float64 in the order of `SESSION_METRICS`.

    - `ranked`: (S, n) rows of what was recommended, best first, n at most k; -1 where there is nothing.
    - `targets`: (S, t) rows of what was chosen, at least one a session; -1 where there is nothing.
    - `information`: (N,) bits of each product, see `self_information`.
    - `k`: length of a full list.

    `recall` is the share of targets in the list, `ndcg` their discounted gain over the best possible one, `mrr` the
    reciprocal rank of the first of them, 0 where there is none, and `novelty` the mean information of the list in
    bits, 0 for an empty one.
    """
    hits: Mask = np.zeros(ranked.shape, np.bool_)
    for position in range(targets.shape[1]):
        hits |= (ranked == targets[:, position, np.newaxis]) & (ranked >= 0)
    counts = (targets >= 0).sum(axis=1)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(counts, k)]
    first = np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0) if ranked.shape[1] else np.zeros(len(hits))
    shown = ranked >= 0
    bits = np.where(shown, information[ranked], 0).sum(axis=1)
    return np.stack(
        [
            hits.sum(axis=1) / counts,
            hits @ discounts[: ranked.shape[1]] / ideal,
            first,
            bits / np.maximum(1, shown.sum(axis=1)),
        ],
        axis=1,
    )


def self_information(counts: DoubleArray) -> DoubleArray:
    """Bits (N,) of products that occur `counts` (N,) times: -log2 of their share, with one added to each count."""
    bits: DoubleArray = -np.log2((counts + 1) / (counts.sum() + len(counts)))
    return bits


def coverage(ranked: Rows, products: int) -> float:
    """Share of a catalogue's products that are in any of the lists (S, n)."""
    return len(np.unique(ranked[ranked >= 0])) / products
