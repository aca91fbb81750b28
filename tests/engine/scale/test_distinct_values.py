"""Quantiles of each shard's values among those of all: the ones that a single column with all values has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.typed_columns.columns import columns_of
from clipshelf.recommend.boosts import quantiles_of
from clipshelf.scale.distinct_values import DistinctValues, pooled_quantiles
from hypothesis import given
from hypothesis import strategies as st

EXACT = [0, -0.0, 1, 1.0, 2.5, -1.5, 5e-324, float(2**53), 2**60]
LARGE = [2**53 + 1, 10**20, 1e20, 10**400, -(10**400)]


@pytest.mark.parametrize("pool", [EXACT, [*EXACT, *LARGE]])
@given(data=st.data())
def test_quantiles_are_those_of_one_column(pool: list[Any], data: st.DataObject) -> None:
    values = st.one_of(st.none(), st.sampled_from(pool))
    shards = data.draw(st.lists(st.lists(values, max_size=12), min_size=1, max_size=4), "values of each shard")
    declared = {"x": "number"}

    def column(of_products: list[Any]) -> Any:
        return columns_of([{"x": 0}, *({} if value is None else {"x": value} for value in of_products)], declared)["x"]

    columns = [column(of_shard) for of_shard in shards]
    union = columns_of(
        [{} if value is None else {"x": value} for of_shard in shards for value in (0, *of_shard)], declared
    )["x"]
    expected = dict(zip([*union.values, None], quantiles_of(union).tolist(), strict=True))
    tables = pooled_quantiles([DistinctValues.of(each) for each in columns])
    for each, table in zip(columns, tables, strict=True):
        assert table.tolist() == [expected[value] for value in (*each.values, None)]


@pytest.mark.parametrize(("values", "is_array"), [(EXACT, True), ([2**53 + 1], False), ([10**400], False)])
def test_values_are_an_array_where_it_has_them_exactly(values: list[Any], is_array: bool) -> None:
    column = columns_of([{"x": value} for value in values], {"x": "number"})["x"]
    distinct = DistinctValues.of(column)
    assert isinstance(distinct.values, np.ndarray) is is_array
    assert list(distinct.values) == column.values and distinct.counts.sum() == len(values)


def test_true_and_false() -> None:
    columns = [columns_of([{"x": value} for value in part], {"x": "bool"})["x"] for part in ([True], [False, True])]
    tables = pooled_quantiles(list(map(DistinctValues.of, columns)))
    low, high = 2 * 0.5 / 3 - 1, 2 * 2 / 3 - 1  # of one and of two among three
    assert [table.tolist() for table in tables] == [[high, 0.0], [low, high, 0.0]]
