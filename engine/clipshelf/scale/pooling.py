"""What is pooled over the shards of a catalogue, so that they answer as the catalogue of all products does.

Each product has an ordinal, which its place among all products decides: in the order of ordinals, the products of all
shards are the rows of the one catalogue, and those of each shard are ascending. From that follow, exactly:

- the rows that means, spreads and score levels are taken from (`statistics.sample_rows`), which are gathered in order;
- the kinds of columns that no declaration decides, from the values of all shards;
- the quantiles of values, and how many products have a token, both from sums of counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import STATISTICS_ROWS, Statistics, sample_rows
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, gather_evidence
from clipshelf.catalogue.typed_columns.inference import infer
from clipshelf.recommend.boosts import BOOST_KINDS
from clipshelf.recommend.store import SAMPLE
from clipshelf.scale.distinct_values import DistinctValues, pooled_quantiles
from clipshelf.scale.manifest import WordCounts
from clipshelf.scale.pooled_table import PooledContents
from clipshelf.scale.steps import Run
from clipshelf.types import DoubleArray, FloatArray, Rows

_BITS = 63  # of an ordinal


class SavedShards:
    """Shards that are being pooled. Each process opens those that it needs.

    - `folders`: of the shards, ordinary catalogues.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._open: dict[int, Catalogue] = {}

    def __len__(self) -> int:
        return len(self._folders)

    def __getitem__(self, number: int) -> Catalogue:
        if number not in self._open:
            self._open[number] = Catalogue.load(self._folders[number])
        return self._open[number]

    def __iter__(self) -> Iterator[Catalogue]:
        return map(self.__getitem__, range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedShards, (self._folders,)


@dataclass(frozen=True)
class ShardWords:
    """What a shard's index of words says: its tokens (m,), how many of its products have each, and their sums.

    - `count`: of products; `length`: of all their texts, in tokens.
    """

    keys: npt.NDArray[np.uint64]
    having: Rows
    count: int
    length: int


@dataclass(frozen=True)
class Pooled:
    """What is pooled over shards.

    - `statistics`: means and spreads of the embeddings.
    - `sample`: (m, 2D) float32, embeddings of evenly spaced products.
    - `kinds`, `declarations`: of columns.
    - `quantiles`: for each shard, the quantiles of its values by column.
    - `words`, `word_keys`, `word_counts`: number and mean length of products, tokens, and how many products have each.
    """

    statistics: Statistics
    sample: FloatArray
    kinds: Mapping[str, Any]
    declarations: Mapping[str, str]
    quantiles: Sequence[Mapping[str, DoubleArray]]
    words: WordCounts | None
    word_keys: np.ndarray[Any, np.dtype[np.uint64]]
    word_counts: Rows


def pool(shards: SavedShards, ordinals: Sequence[Rows], declarations: Mapping[str, str], run: Run) -> Pooled:
    """Pool shards.

    - `ordinals`: (n,) int64 of the products of each shard, ascending.
    - `declarations`: of columns by name, "" for one that its values decide. Columns have their order; others come last.
    - `run`: takes the steps that read all products of a shard.
    """
    kinds, decided = _kinds(shards, declarations, run)
    quantiles: list[dict[str, DoubleArray]] = [{} for _ in range(len(shards))]
    for name in (name for name, kind in kinds.items() if kind in BOOST_KINDS):
        step = partial(_distinct_values, shards, kinds, decided, name)
        for of_shard, table in zip(quantiles, pooled_quantiles([*run(step, len(shards))]), strict=True):
            of_shard[name] = table
    keys, counts, words = _pool_words([*run(partial(_words, shards), len(shards))])
    return Pooled(
        Statistics.of(_spaced_rows(shards, ordinals, STATISTICS_ROWS)),
        _spaced_rows(shards, ordinals, SAMPLE),
        kinds,
        decided,
        quantiles,
        words,
        keys,
        counts,
    )


def ordinals_at(ordinals: Sequence[Rows], ranks: Rows) -> Rows:
    """The ordinals (r,) at some ranks, from 0, among the ascending ordinals of all shards, which are all different."""
    low, high = np.zeros(len(ranks), np.int64), np.full(len(ranks), (1 << _BITS) - 1, np.int64)
    while (low < high).any():
        middle = low + (high - low) // 2
        below = np.zeros(len(ranks), np.int64)
        for of_shard in ordinals:
            below += np.searchsorted(of_shard, middle, side="right")
        reached = below > ranks
        high, low = np.where(reached, middle, high), np.where(reached, low, middle + 1)
    return low


def _spaced_rows(shards: SavedShards, ordinals: Sequence[Rows], limit: int) -> FloatArray:
    """Embeddings (m, 2D) of the rows of all products that `sample_rows` names."""
    sampled = ordinals_at(ordinals, sample_rows(sum(map(len, ordinals)), limit))
    rows = np.zeros((len(sampled), 2 * shards[0].dim), np.float32)
    for shard, of_shard in zip(shards, ordinals, strict=True):
        positions = np.searchsorted(of_shard, sampled)
        is_here = positions < len(of_shard)
        is_here[is_here] = of_shard[positions[is_here]] == sampled[is_here]
        rows[is_here] = np.asarray(shard.embeddings)[positions[is_here]]
    return rows


def _kinds(shards: SavedShards, declarations: Mapping[str, str], run: Run) -> tuple[dict[str, Any], dict[str, str]]:
    """Kinds and declarations of all columns of all shards."""
    present = dict.fromkeys(name for shard in shards for name in shard.contents.kinds)
    names = [
        *(name for name in declarations if name in present),
        *(name for name in present if name not in declarations),
    ]
    decided = {name: declaration for name, declaration in declarations.items() if declaration}
    open_names = [name for name in names if name not in decided]
    kinds: dict[str, Any] = {name: declaration.partition(":")[0] for name, declaration in decided.items()}
    kinds = {name: kind for name, kind in kinds.items() if name in names}
    if open_names:
        parts = [*run(partial(_evidence, shards, open_names), len(shards))]
        for name in open_names:
            inferred = infer(name, reduce(add, (part.get(name, ColumnEvidence()) for part in parts)))
            kinds[name] = inferred.kind
            if inferred.declaration:
                decided[name] = inferred.declaration
    return {name: kinds[name] for name in names}, decided


def _evidence(shards: SavedShards, names: Sequence[str], number: int) -> dict[str, ColumnEvidence]:
    """What the values of some columns of a shard are evidence of."""
    products = shards[number].products
    return gather_evidence({name: record[name] for name in names if name in record} for record in products)


def _distinct_values(
    shards: SavedShards, kinds: Mapping[str, Any], declarations: Mapping[str, str], name: str, number: int
) -> DistinctValues:
    """The distinct values of a column of a shard."""
    column = PooledContents(shards[number].contents, kinds, declarations).column(name)
    return DistinctValues.of(column)


def _words(shards: SavedShards, number: int) -> ShardWords | None:
    """What the index of words of a shard says, None without one."""
    index = shards[number].words
    if index is None:
        return None
    return ShardWords(
        np.asarray(index.keys), np.diff(index.starts), index.count, int(index.lengths.sum(dtype=np.int64))
    )


def _pool_words(parts: Sequence[ShardWords | None]) -> tuple[Any, Rows, WordCounts | None]:
    """Tokens of all products, ascending, how many products have each, and the number and mean length of products."""
    present = [part for part in parts if part is not None]
    if not present:
        return np.empty(0, np.uint64), np.empty(0, np.int64), None
    keys, positions = np.unique(np.concatenate([part.keys for part in present]), return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, positions, np.concatenate([part.having for part in present]))
    count = sum(part.count for part in present)
    length = sum(part.length for part in present)
    return keys, counts, WordCounts(count, max(1.0, length / count) if count else 1.0)


def ordinals_name(shard: int) -> str:
    """The name of the file with the ordinals of a shard."""
    return f"ordinals-{shard:04}.npy"


def quantiles_name(shard: int) -> str:
    """The name of the file with the quantiles of a shard's values."""
    return f"quantiles-{shard:04}.npz"
