"""The distinct values of a column in each shard, and the quantiles of these among the values of all shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.recommend.boosts import quantiles_by_counts, value_counts
from clipshelf.types import DoubleArray, Rows


class DistinctValues(NamedTuple):
    """The V distinct values of a column of numbers, or of true and false, in one shard.

    - `values`: ascending: (V,) float64 where that has all of them exactly, which takes less memory, else a list.
    - `counts`: (V,) how many products have each.
    """

    values: DoubleArray | list[Any]
    counts: Rows

    @classmethod
    def of(cls, column: Column) -> DistinctValues:
        """Those of a column."""
        counts = value_counts(column)
        try:
            values = np.array(column.values, np.float64)
        except OverflowError:  # of an integer that is larger than any float64
            return cls(column.values, counts)
        return cls(values if values.tolist() == column.values else column.values, counts)


def pooled_quantiles(parts: Sequence[DistinctValues]) -> list[DoubleArray]:
    """For each shard the quantiles (V + 1,) of its V values, and of no value, among the values of all shards."""
    positions, count = _positions([part.values for part in parts])
    counts = np.zeros(count, np.int64)
    for of_part, part in zip(positions, parts, strict=True):
        counts[of_part] += part.counts
    table = quantiles_by_counts(counts)
    return [table[np.append(of_part, count)] for of_part in positions]


def _positions(parts: Sequence[DoubleArray | list[Any]]) -> tuple[list[Rows], int]:
    """The positions (V,) of the values of each part among the distinct values of all parts, and the number of these."""
    arrays = [values for values in parts if isinstance(values, np.ndarray)]
    if len(arrays) == len(parts):
        distinct = np.unique(np.concatenate(arrays))
        return [np.searchsorted(distinct, values).astype(np.int64) for values in arrays], len(distinct)
    lists: list[list[Any]] = [values.tolist() if isinstance(values, np.ndarray) else values for values in parts]
    position = {value: i for i, value in enumerate(sorted({value for values in lists for value in values}))}
    return [np.array([position[value] for value in values], np.int64) for values in lists], len(position)
