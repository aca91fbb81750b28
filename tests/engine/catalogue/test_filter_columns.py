"""Filters over whole catalogues: id, text, dotted names, Unicode, dates, missing values, and how many products pass."""

from __future__ import annotations

import operator
import pickle
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.filtering.conditions import MAX_DEPTH, MAX_TESTS, check_size
from clipshelf.catalogue.filtering.filters import Filter
from clipshelf.catalogue.typed_columns.columns import Column, columns_of
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.types import Product
from hypothesis import given
from hypothesis import strategies as st

DECOMPOSED = unicodedata.normalize("NFD", "Möbel")
PRODUCTS: list[Product] = [
    {"id": "15970", "text": "red shoe", "group": DECOMPOSED, "size": {"eu": 42, "us": "9"}, "tags": [DECOMPOSED, "x"]},
    {"id": "b", "text": "blue shirt", "group": "Möbel", "size": {"eu": 38}, "tags": ["Möbel", DECOMPOSED]},
    {"id": "c", "text": "green", "offers": [{"shop": "x", "price": 3}, {"shop": "y"}], "tags": []},
    {"id": "d", "text": "warm watch", "Größe": "M", "offers": [{"shop": "y", "price": 5}]},
]


@pytest.fixture(params=["built", "loaded"])
def catalogue(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Catalogue:
    built = Catalogue.build(engine, PRODUCTS)
    if request.param == "built":
        return built
    built.save(tmp_path / "shelf")
    return Catalogue.load(tmp_path / "shelf")


def found(catalogue: Catalogue, where: Any) -> str:
    return "".join(catalogue.ids[row][0] for row in np.flatnonzero(catalogue.mask(where)))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("id=15970", "1"),
        ("id in (b, c)", "bc"),
        ({"id": {"in": [15970, np.int64(15970), "c"]}}, "1c"),
        ("text contains sh", "1b"),
        ("not text contains sh", "cd"),
        ("size.eu>=40", "1"),
        ("size.us=9", "1"),
        ("size.us is missing", "bcd"),
        ({"size.eu": {"<": 40}}, "b"),
        ("offers.shop contains y", "cd"),
        ("offers.price contains 3", "c"),
        ("group='Möbel'", "1b"),
        (f"group='{DECOMPOSED}'", "1b"),
        ("group contains ö", "1b"),
        ("tags contains Möbel", "1b"),
        (f"tags contains {DECOMPOSED}", "1b"),
        ("tags is missing", "cd"),
        ("tags is not missing", "1b"),
        (f"{unicodedata.normalize('NFD', 'Größe')}=M", "d"),
    ],
)
def test_fields_that_are_no_stored_columns(catalogue: Catalogue, where: Any, ids: str) -> None:
    for _ in range(2):  # with and without what is computed on first use
        assert found(catalogue, where) == ids
    assert found(pickle.loads(pickle.dumps(catalogue)), where) == ids


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "size.uk=4",
            r"expected a column among Größe \(text\), group \(text\), id \(text\), .*text \(text\), found 'size.uk'",
        ),
        ("group.eu=4", "found 'group.eu'"),
        ("." * 500 + "=4", "expected a column among"),
        ("Text contains x", "found 'Text'; is 'text' meant"),
        ("grupo=x", "found 'grupo'; is 'group' meant"),
        ({"a\x1b" * 500: 1}, "expected a column among .*"),
    ],
)
def test_an_unknown_column_is_told_with_those_that_there_are(catalogue: Catalogue, where: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        catalogue.mask(where)
    assert len(str(error.value)) < 500 and "\x1b" not in str(error.value)


def test_it_tells_how_many_products_each_term_lets_through(catalogue: Catalogue) -> None:
    where = "group=Möbel and (size.eu>=40 or tags is missing) and id!=b"
    assert catalogue.count_passing(where) == {"group=Möbel": 2, "(size.eu>=40 or tags is missing)": 3, "id!=b": 3}
    assert catalogue.count_passing({"size.eu": {">": 40, "<": 50}}) == {"size.eu>40": 1, "size.eu<50": 2}
    assert catalogue.count_passing({}) == {}
    with pytest.raises(InputError, match="expected a list of conditions"):
        catalogue.count_passing({"or": 5})


DATES = Column("date", ["2026-05-01", "2026-05-01T09:30:00", "2026-05-02"], codes=np.array([0, 1, 2, -1]))


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"shipped": "2026-05-01"}, [0]),
        ({"shipped": {">=": "20260501T0930"}}, [1, 2]),
        ({"shipped": date(2026, 5, 2)}, [2]),
        ({"shipped": {"<": datetime(2026, 5, 1, 9, 30)}}, [0]),
        ({"shipped": datetime(2026, 5, 1, 11, 30, tzinfo=timezone(timedelta(hours=2)))}, [1]),
        ({"shipped": {"in": [np.datetime64("2026-05-01"), pd.Timestamp("2026-05-02", tz=UTC)]}}, [0, 2]),
        ({"shipped": None}, [3]),
    ],
)
def test_dates_are_compared_as_dates(where: Any, rows: list[int]) -> None:
    mask = Filter({"shipped": "date"}, {"shipped": DATES}.__getitem__, 4).mask(where)
    assert np.flatnonzero(mask).tolist() == rows


@pytest.mark.parametrize("value", ["yesterday", "2026-05", 20260501, pd.NaT, np.datetime64("NaT"), True])
def test_what_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(
        InputError, match=rf"shipped: expected a date in ISO form, .* found \w+ {re.escape(describe(value))}"
    ):
        Filter({"shipped": "date"}, {"shipped": DATES}.__getitem__, 4).mask({"shipped": {">": value}})


def test_the_size_of_a_filter_is_limited() -> None:
    deep: Any = {"price": 1}
    for _ in range(MAX_DEPTH):
        deep = {"not": deep}
    check_size(deep)
    with pytest.raises(InputError, match=f"nested less deeply, at most {MAX_DEPTH} levels"):
        check_size({"or": [deep]})
    check_size({"or": [{"price": 1}] * MAX_TESTS})
    with pytest.raises(InputError, match=f"at most {MAX_TESTS:,} tests; `in` compares with any number"):
        check_size({"or": [{"price": 1}] * (MAX_TESTS + 1)})
    circle: Any = {}
    circle["or"] = [circle, circle]
    with pytest.raises(InputError, match="where: expected"):
        check_size(circle)


ROWS = st.fixed_dictionaries(
    {},
    optional={"n": st.integers(-3, 3), "t": st.sampled_from("abc"), "l": st.lists(st.sampled_from("xy"), max_size=3)},
)
TESTS = st.one_of(
    st.tuples(st.just("n"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(-4, 4)),
    st.tuples(st.just("n"), st.just("in"), st.lists(st.integers(-4, 4), max_size=3)),
    st.tuples(st.just("t"), st.sampled_from(["==", "!=", "<", "contains"]), st.sampled_from("abcd")),
    st.tuples(st.just("l"), st.just("contains"), st.sampled_from("xyz")),
    st.tuples(st.sampled_from("ntl"), st.sampled_from(["==", "!="]), st.none()),
).map(lambda test: {test[0]: {test[1]: test[2]}})
FILTERS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(inner, max_size=3).map(lambda parts: {"or": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=8,
)


PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, others: value in others,
    "contains": operator.contains,
}


def holds(product: Product, where: Any) -> bool:
    """Whether a product fulfils a filter, as docs/filters.md says it, one product at a time."""
    [(name, condition)] = where.items()
    if name in ("and", "or"):
        return (all if name == "and" else any)([holds(product, part) for part in condition])
    if name == "not":
        return not holds(product, condition)
    [(operator_name, other)] = condition.items()
    value = product.get(name) or None if name == "l" else product.get(name)
    if value is None:
        return bool(operator_name == "!=" if other is not None else operator_name == "==")
    return bool(PYTHON[operator_name](value, other))


@given(st.lists(ROWS, min_size=1, max_size=6), FILTERS)
def test_filters_equal_a_check_of_one_product_at_a_time(rows: list[Product], where: Any) -> None:
    every_kind = {"n": 0, "t": "a", "l": ["x"]}
    columns = columns_of([*rows, every_kind])
    kinds = {name: column.kind for name, column in columns.items()}
    mask = Filter(kinds, columns.__getitem__, len(rows) + 1).mask(where)
    assert mask.tolist() == [holds(row, where) for row in [*rows, every_kind]]
