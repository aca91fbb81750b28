"""Merges what shards find for a search, exactly as one catalogue with all products would have found it."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np

from clipshelf.recommend.store import Candidates, Search
from clipshelf.scale.selections import ShardCandidates
from clipshelf.types import FloatArray, Product


class Merged(NamedTuple):
    """The best candidates of all shards, with what came with them.

    - `embeddings`: (n, 2D) of their products.
    - `records`, `pictures`: the records of these and the keys of their pictures, none where none were sent.
    """

    candidates: Candidates
    embeddings: FloatArray
    records: list[Product]
    pictures: list[bytes]


def merge(parts: Sequence[ShardCandidates], search: Search, missing: AbstractSet[int]) -> Merged:
    """The best candidates of all shards: for each pattern of sides as many as the search asks for.

    - `parts`: of the shards that answered; `missing` names the others.
    """
    if not parts:
        numbers = np.empty((len(search.additions), 0))
        none = Candidates(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.float32), numbers, missing)
        return Merged(none, np.empty((0, len(search.row)), np.float32), [], [])
    candidates = [part.candidates for part in parts]
    rows = np.concatenate([of_part.rows for of_part in candidates])
    patterns = np.concatenate([of_part.patterns for of_part in candidates])
    scores = np.concatenate([of_part.scores for of_part in candidates])
    numbers = np.concatenate([of_part.numbers for of_part in candidates], axis=1)
    order = np.lexsort((rows, -scores, patterns))
    starts = np.searchsorted(patterns[order], patterns[order])  # where the pattern of each begins
    best = order[np.arange(len(order)) - starts < search.count]
    records = [record for part in parts for record in part.records]
    pictures = [keys for part in parts for keys in part.pictures]
    return Merged(
        Candidates(rows[best], patterns[best], scores[best], numbers[:, best], missing),
        np.concatenate([part.embeddings for part in parts])[best],
        [records[position] for position in best.tolist()] if records else [],
        [pictures[position] for position in best.tolist()] if records else [],
    )
