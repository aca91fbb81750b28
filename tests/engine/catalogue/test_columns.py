from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.typed_columns.columns import Column, columns_of
from clipshelf.catalogue.typed_columns.kinds import check_declarations, kind_of
from clipshelf.errors import InputError


def column(values: list[Any], declaration: str = "", name: str = "x") -> Column:
    products = [{"id": str(i)} | ({} if value is None else {name: value}) for i, value in enumerate(values)]
    return columns_of(products, {name: declaration})[name]


def values_of(column: Column) -> list[Any]:
    return [None if code < 0 else column.values[code] for code in column.codes.tolist()]


@pytest.mark.parametrize(
    ("cells", "declaration", "values"),
    [
        (["89.90", "1,099.00", "N/A", "45"], "number", [89.9, 1099, None, 45]),
        (["89,90 €", "1.099 €", "-", "45"], "number:,", [89.9, 1099, None, 45]),
        ([3, "4", None, 2.5, "null"], "number", [3, 4, None, 2.5, None]),
        (["True", "False", "N/A"], "bool", [True, False, None]),
        (["yes", "NO", "yes"], "bool", [True, False, True]),
        ([True, 1, 0, False], "bool", [True, True, False, False]),
        ([True, None, False], "bool", [True, None, False]),
        (["NO", "NO"], "text", ["NO", "NO"]),
        (["no", "none", "yes", "NA"], "bool", [False, None, True, None]),
        (["007", "42"], "text", ["007", "42"]),
        (["S", "42", 43], "text", ["S", "42", "43"]),
        (["4006381333931", "4012345678901"], "text", ["4006381333931", "4012345678901"]),
        (["1588687728923", "1588687728924"], "number", [1588687728923, 1588687728924]),
        (["1" * 16, "2" * 16], "text", ["1" * 16, "2" * 16]),
        (["2026-05-01", "2026-05-01T09:30:00Z", "2026-05-01 00:00:00"], "date", None),
        (["1.5.2026", "2.5.2026"], "text", ["1.5.2026", "2.5.2026"]),
        (["red", "none", "NULL", "N/A", "NA"], "text", ["red", "none", None, None, "NA"]),
        (["N/A", "-"], "", [None, None]),
        (["12.5 kg", "7 kg"], "text", ["12.5 kg", "7 kg"]),
    ],
)
def test_a_kind_is_inferred_from_all_values(cells: list[Any], declaration: str, values: list[Any] | None) -> None:
    found = column(cells)
    assert found.declaration == declaration
    if values is not None:
        assert values_of(found) == values


def test_one_odd_value_in_ten_counts_as_missing() -> None:
    cells = [str(i) for i in range(9)]
    assert values_of(column([*cells, "ask us"])) == [*range(9), None]
    assert column([*cells, "ask us", "ask"]).kind == "text"
    assert column([*cells, {"from": 3}]).kind == "number"


@pytest.mark.parametrize("name", ["ean", "EAN code", "version", "zip_code", "modelVersion", "phone"])
def test_a_column_that_is_named_for_codes_keeps_its_text(name: str) -> None:
    assert values_of(column(["1.10", "1.1"], name=name)) == ["1.10", "1.1"]
    assert column([1, 2], name=name).kind == "number"


def test_a_declared_kind_holds() -> None:
    assert values_of(column(["17"], "text")) == ["17"]
    assert values_of(column([17.0, 1.5, True], "text")) == ["17", "1.5", "true"]
    assert values_of(column(["n/a", "x", "7"], "number")) == [None, None, 7]
    assert values_of(column(["1.099"], "number:,")) == [1099]
    assert values_of(column(["31.12.2025", "1.1.2026", "soon"], "date:%d.%m.%Y")) == ["2025-12-31", "2026-01-01", None]
    assert values_of(column(["1", 0, "true"], "bool")) == [True, False, True]
    assert column(["1"], "mixed").kind == "mixed"
    assert values_of(column([["a"], "b"], "text")) == [None, "b"]


def test_lists() -> None:
    tags = column([["sale", "new"], [], "sale", None, ["sale", 3]])
    assert (tags.kind, tags.values, tags.rows.tolist(), tags.starts) == (
        "texts",
        ["3", "new", "sale"],
        [4, 0, 0, 2, 4],
        [0, 1, 2, 5],
    )
    assert column([[1, 2], []]).kind == "numbers"
    assert column([[], []]).declaration == "" and column([[], []]).kind == "texts"
    assert column([[1], [{"a": 1}]]).kind == "mixed" and column([["a"], [["b"]]]).kind == "mixed"
    assert column([["a", None]]).values == ["a"]
    assert column(["a", ["b"]], "numbers").values == []


def test_a_column_without_a_value_decides_nothing() -> None:
    assert column(["N/A"]).declaration == "" and column(["N/A"]).kind == "text"
    assert columns_of([{"id": "a", "x": None}])["x"].kind == "text"
    assert columns_of([], {"x": "number"}) == {}


def test_declarations_are_checked() -> None:
    assert [kind_of(text) for text in ("number", "number:,", "date", "date:%d.%m.%Y")] == ["number"] * 2 + ["date"] * 2
    for wrong in ("money", "number:x", "text:x", "date:%d.%m", "date:x", ""):
        with pytest.raises(InputError, match="column price: "):
            check_declarations({"price": wrong})


def test_codes_take_the_smallest_type() -> None:
    assert column(["a", "b"]).codes.dtype == np.int8 and column(list(range(200))).codes.dtype == np.int16
