"""The kind of a column is inferred from evidence of parts of its values as from that of all."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import pytest
from clipshelf.catalogue.typed_columns.column_values import ColumnValues
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, TextEvidence
from clipshelf.catalogue.typed_columns.inference import infer
from hypothesis import given
from hypothesis import strategies as st

SORTS: tuple[tuple[Any, ...], ...] = (
    ("1", "2.5", "3,5", "1.099", "1,099", "€5", "$4", "5%", "12 kg", "0042", "9" * 16),
    ("true", "FALSE", "yes", "no", "Y", "n", "on", "off", "1", "0", True, 1, 0.0),
    ("2024-01-01", "2023-05-06T10:00:00Z", "01.02.2023", "3/4/22"),
    ("red", "blue", "N/A", "", "-", "null", "na"),
    ("4006381333931", "9780306406157", "5901234123457"),
    (1, 2.5, False, 3e20),
    (["a", "b"], [1, 2], [], ["x", 1]),
    ({"a": 1}, [{"b": 1}], None),
    tuple(f"text {i}" for i in range(120)),
)


def values(sorts: list[tuple[Any, ...]]) -> st.SearchStrategy[list[Any]]:
    """Lists in which some sorts of values are much more frequent than others."""
    return st.lists(st.sampled_from([value for sort in sorts for value in sort]), max_size=150)


@given(
    st.lists(st.sampled_from(SORTS), min_size=1, max_size=3).flatmap(values),
    st.lists(st.integers(0, 150), max_size=3).map(sorted),
    st.sampled_from(("price", "ean code", "zipCode", "in stock")),
)
def test_evidence_of_parts_adds_up(cells: list[Any], cuts: list[int], name: str) -> None:
    parts = [cells[start:stop] for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]
    evidence = reduce(add, map(evidence_of, parts))
    assert evidence == evidence_of(cells)
    assert infer(name, evidence) == infer(name, evidence_of(cells))
    assert bool(evidence) == any(value is not None for value in cells)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["yes"] * 9 + ["no"], "bool"),
        (["yes"] * 10, "text"),
        (["7"] * 9 + ["red"], "number"),
        (["7"] * 8 + ["red", "blue"], "text"),
        (["4006381333931", "9780306406157"], "text"),
        (["2024-01-01"] * 9 + ["soon"], "date"),
        ([["a"], [1]], "texts"),
        ([[2], [1]], "numbers"),
        ([{"a": 1}, "x"], "mixed"),
        ([], "text"),
    ],
)
def test_what_values_are_evidence_of(cells: list[Any], kind: str) -> None:
    assert infer("column", evidence_of(cells)).kind == kind


def test_evidence_does_not_grow_with_the_values() -> None:
    texts = evidence_of([f"text {i}" for i in range(101)]).texts
    assert texts == TextEvidence(101, None, odd="text 0")


def evidence_of(cells: list[Any]) -> ColumnEvidence:
    gathered = ColumnValues()
    for row, cell in enumerate(cells):
        gathered.add(row, cell)
    return ColumnEvidence.of(gathered)
