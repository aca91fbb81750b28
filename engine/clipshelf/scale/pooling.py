"""What is pooled over the shards of a catalogue, so that they answer as the catalogue of all products does.

Each product has an ordinal, which its place among all products decides: in the order of ordinals, the products of all
shards are the rows of the one catalogue, and those of each shard are ascending. From that follow, exactly:

- the rows that means, spreads and score levels are taken from (`statistics.sample_rows`), which are gathered in order;
- the kinds of columns that no declaration decides, from the values of all shards;
- the quantiles of values, and how many products have a token, both from sums of counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import STATISTICS_ROWS, Statistics, sample_rows
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, gather_evidence
from clipshelf.catalogue.typed_columns.inference import infer
from clipshelf.recommend.boosts import BOOST_KINDS, quantiles_by_counts, value_counts
from clipshelf.recommend.store import SAMPLE
from clipshelf.scale.manifest import WordCounts
from clipshelf.scale.pooled_table import PooledContents
from clipshelf.types import DoubleArray, FloatArray, Product, Rows

_BITS = 63  # of an ordinal


class DistinctValues(NamedTuple):
    """The V distinct values of a column in one shard, ascending, and the number of products (V,) that have each."""

    values: list[Any]
    counts: Rows


@dataclass(frozen=True)
class OpenShard:
    """A shard that is being pooled.

    - `catalogue`: its products.
    - `ordinals`: (n,) int64, ascending.
    """

    catalogue: Catalogue
    ordinals: Rows


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


def pool(shards: Sequence[OpenShard], declarations: Mapping[str, str]) -> Pooled:
    """Pool shards.

    - `declarations`: of columns by name, "" for one that its values decide. Columns have their order; others come last.
    """
    kinds, decided = _kinds(shards, declarations)
    contents = [PooledContents(shard.catalogue.contents, kinds, decided) for shard in shards]
    columns = [name for name, kind in kinds.items() if kind in BOOST_KINDS]
    quantiles: list[dict[str, DoubleArray]] = [{} for _ in shards]
    for name in columns:
        for of_shard, table in zip(quantiles, _quantiles(contents, name), strict=True):
            of_shard[name] = table
    keys, counts, words = _words(shards)
    return Pooled(
        Statistics.of(_spaced_rows(shards, STATISTICS_ROWS)),
        _spaced_rows(shards, SAMPLE),
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


def _spaced_rows(shards: Sequence[OpenShard], limit: int) -> FloatArray:
    """Embeddings (m, 2D) of the rows of all products that `sample_rows` names."""
    ordinals = [shard.ordinals for shard in shards]
    sampled = ordinals_at(ordinals, sample_rows(sum(map(len, ordinals)), limit))
    rows = np.zeros((len(sampled), 2 * shards[0].catalogue.dim), np.float32)
    for shard in shards:
        positions = np.searchsorted(shard.ordinals, sampled)
        is_here = positions < len(shard.ordinals)
        is_here[is_here] = shard.ordinals[positions[is_here]] == sampled[is_here]
        rows[is_here] = np.asarray(shard.catalogue.embeddings)[positions[is_here]]
    return rows


def _kinds(shards: Sequence[OpenShard], declarations: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Kinds and declarations of all columns of all shards."""
    present = dict.fromkeys(name for shard in shards for name in shard.catalogue.contents.kinds)
    names = [
        *(name for name in declarations if name in present),
        *(name for name in present if name not in declarations),
    ]
    decided = {name: declaration for name, declaration in declarations.items() if declaration}
    open_names = [name for name in names if name not in decided]
    kinds: dict[str, Any] = {name: declaration.partition(":")[0] for name, declaration in decided.items()}
    kinds = {name: kind for name, kind in kinds.items() if name in names}
    if open_names:
        parts = [gather_evidence(_fields(shard, open_names)) for shard in shards]
        for name in open_names:
            inferred = infer(name, reduce(add, (part.get(name, ColumnEvidence()) for part in parts)))
            kinds[name] = inferred.kind
            if inferred.declaration:
                decided[name] = inferred.declaration
    return {name: kinds[name] for name in names}, decided


def _fields(shard: OpenShard, names: Sequence[str]) -> list[Product]:
    """Some fields of all records of a shard."""
    return [{name: record[name] for name in names if name in record} for record in shard.catalogue.products]


def _quantiles(shards: Sequence[PooledContents], name: str) -> list[DoubleArray]:
    """For each shard the quantiles (V + 1,) of its values of a column among those of all shards."""
    columns = [contents.column(name) for contents in shards]
    return pooled_quantiles([DistinctValues(column.values, value_counts(column)) for column in columns])


def pooled_quantiles(parts: Sequence[DistinctValues]) -> list[DoubleArray]:
    """For each shard the quantiles (V + 1,) of its V values, and of no value, among the values of all shards."""
    counts: Counter[Any] = Counter()
    for part in parts:
        counts.update(dict(zip(part.values, part.counts.tolist(), strict=True)))
    values = sorted(counts)
    table = quantiles_by_counts(np.array([counts[value] for value in values], np.int64))
    position = {value: i for i, value in enumerate(values)}
    return [table[[*(position[value] for value in part.values), len(values)]] for part in parts]


def _words(shards: Sequence[OpenShard]) -> tuple[Any, Rows, WordCounts | None]:
    """Tokens of all products, ascending, how many products have each, and the number and mean length of products."""
    indices = [shard.catalogue.words for shard in shards]
    present = [index for index in indices if index is not None]
    if not present:
        return np.empty(0, np.uint64), np.empty(0, np.int64), None
    keys, positions = np.unique(np.concatenate([index.keys for index in present]), return_inverse=True)
    having = np.concatenate([np.diff(index.starts) for index in present])
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, positions, having)
    count = sum(index.count for index in present)
    length = sum(int(index.lengths.sum(dtype=np.int64)) for index in present)
    return keys, counts, WordCounts(count, max(1.0, length / count) if count else 1.0)


def ordinals_name(shard: int) -> str:
    """The name of the file with the ordinals of a shard."""
    return f"ordinals-{shard:04}.npy"


def quantiles_name(shard: int) -> str:
    """The name of the file with the quantiles of a shard's values."""
    return f"quantiles-{shard:04}.npz"
