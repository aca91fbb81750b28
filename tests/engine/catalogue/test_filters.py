from __future__ import annotations

import operator
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.filtering.filters import Filter
from clipshelf.catalogue.typed_columns.columns import columns_of
from clipshelf.errors import InputError
from clipshelf.types import Product

PRODUCTS: list[Product] = [
    {"id": "a", "category": "shoes", "price": 99.5, "tags": ["sale", "new"], "sold": True, "sizes": [40, 41]},
    {"id": "b", "category": "shirts", "price": 100, "tags": [], "sold": False, "sizes": [41]},
    {"id": "c", "category": "shoes", "price": 2**63 + 1, "tags": ["sale", "sale"], "odd": 1},
    {"id": "d", "price": 20, "text": "not a column", "odd": "one"},
    {"id": "e", "category": "shoe laces", "price": -1.5, "tags": ["new"], "sold": False, "odd": {"deep": 1}},
]


def rows(where: Any, products: list[Product] = PRODUCTS) -> str:
    columns = columns_of(products)
    kinds = {name: column.kind for name, column in columns.items()}
    mask = Filter(kinds, columns.__getitem__, len(products)).mask(where)
    assert mask.dtype == bool and mask.shape == (len(products),)
    return "".join(products[row]["id"] for row in np.flatnonzero(mask))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, "abcde"),
        ({"category": "shoes"}, "ac"),
        ({"category": {"==": "shoes"}, "price": {"<": 100}}, "a"),
        ({"category": {"!=": "shoes"}}, "bde"),
        ({"category": None}, "d"),
        ({"category": {"!=": None}}, "abce"),
        ({"category": "hats"}, ""),
        ({"price": {"<": 10**400}}, "abcde"),
        ({"category": {"!=": "hats"}}, "abcde"),
        ({"category": {"<": "shoes"}}, "be"),
        ({"category": {"contains": "shoe"}}, "ace"),
        ({"category": {"in": ["shirts", "shoes", "hats"]}}, "abc"),
        ({"category": {"in": []}}, ""),
        ({"price": {"<": 100}}, "ade"),
        ({"price": {"<=": 100}}, "abde"),
        ({"price": {">": 20}}, "abc"),
        ({"price": {">=": 20, "<": 100}}, "ad"),
        ({"price": 2**63 + 1}, "c"),
        ({"price": 2**63}, ""),
        ({"price": {"<": float("inf")}}, "abcde"),
        ({"price": np.float32(99.5)}, "a"),
        ({"price": Decimal("99.5")}, "a"),
        ({"price": {"in": (20, 100.0)}}, "bd"),
        ({"sold": True}, "a"),
        ({"sold": {"!=": True}}, "bcde"),
        ({"tags": {"contains": "sale"}}, "ac"),
        ({"tags": {"contains": "gone"}}, ""),
        ({"sizes": {"contains": 41}}, "ab"),
        ({"or": [{"price": 20}, {"sold": True}]}, "ad"),
        ({"or": []}, ""),
        ({"and": []}, "abcde"),
        ({"and": [{"tags": {"contains": "new"}}, {"not": {"category": "shoes"}}]}, "e"),
        ({"not": {"or": [{"category": "shoes"}, {"price": {"<": 0}}]}}, "bd"),
    ],
)
def test_conditions(where: dict[str, Any], found: str) -> None:
    assert rows(where) == found


LISTING = r"category \(text\), .*price \(number\), sizes \(numbers\), sold \(bool\), tags \(texts\)"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, f"expected a column among {LISTING}, found 'colour'"),
        ({"text": "x"}, "found 'text'"),
        ({"odd": 1}, f"odd: expected a column of one type, found one with several; filters take {LISTING}"),
        ({"price": "cheap"}, f"price: expected a number for a column of kind number, found str 'cheap'; .*{LISTING}"),
        ({"price": True}, "expected a number .*found bool True"),
        ({"price": float("nan")}, "expected a number .*found float nan"),
        ({"price": {"<": None}}, "expected a number .*found NoneType None"),
        ({"sold": 1}, "expected true or false .*found int 1"),
        ({"category": {"in": "shoes"}}, "expected a list after 'in' .*found str 'shoes'"),
        ({"category": {"in": ["shoes", 3]}}, "expected a string .*found int 3"),
        ({"tags": "sale"}, "expected the operator contains for a column of kind texts, found '=='"),
        ({"price": {"contains": 3}}, "expected the operator == or != .*found 'contains'"),
        ({"price": {"=<": 3}}, "price: expected an operator among == != < <= > >= in contains, found '=<'"),
        ({"or": {"price": 3}}, "or: expected a list of conditions, found dict"),
        ({"not": [{"price": 3}]}, "where: expected a dict of conditions, found list"),
        ("price < 3", "where: expected a dict of conditions, found str"),
    ],
)
def test_what_does_not_fit_is_named_with_what_there_is(where: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows(where)


def test_conditions_that_nest_too_deeply_are_refused() -> None:
    where: Any = {"price": 20}
    for _ in range(5000):
        where = {"not": where}
    with pytest.raises(InputError, match="nested less deeply"):
        rows(where)


def test_without_columns_it_says_so() -> None:
    with pytest.raises(InputError, match="expected a column among no column at all, found 'x'"):
        rows({"x": 1}, [{"id": "a", "text": "b"}])


def test_every_operator_equals_python_on_many_values() -> None:
    generator = random.Random(0)
    for distinct in (3, 200, 40_000):
        values = [generator.randrange(distinct) if generator.random() < 0.9 else None for _ in range(3000)]
        products = [{"id": f"{i} "} | ({"n": v} if v is not None else {}) for i, v in enumerate(values)]
        pivot = generator.choice([value for value in values if value is not None])
        for name in ("==", "!=", "<", "<=", ">", ">="):
            compare = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le}.get(name)
            compare = compare or {">": operator.gt, ">=": operator.ge}[name]
            expected = [f"{i} " for i, v in enumerate(values) if (compare(v, pivot) if v is not None else name == "!=")]
            assert rows({"n": {name: pivot}}, products) == "".join(expected)
        wanted = generator.sample(range(distinct), min(distinct, 50))
        expected = [f"{i} " for i, v in enumerate(values) if v in wanted]
        assert rows({"n": {"in": wanted}}, products) == "".join(expected)
