from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.products import read_products
from clipshelf.catalogue.readers import ProductFields
from clipshelf.errors import InputError
from clipshelf.failures import Failure


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("sku,title,photo,price\n007,red,r.png,3\n008,12,,4\n")
    batch = read_products(path, fields=ProductFields("sku", "title", "photo"))
    assert batch.products == [
        {"id": "007", "text": "red", "image": "r.png", "price": 3.0},
        {"id": "008", "text": "12", "price": 4.0},
    ]
    with pytest.raises(InputError, match="one named text or image, found sku, title, photo, price"):
        read_products(path)
    with pytest.raises(InputError, match="expected one column for text, found title and text: rename or drop one"):
        read_products([{"title": "x", "text": "y"}], fields=ProductFields(text="title"))
    path.write_text("text,text\nx,y")
    with pytest.raises(InputError, match="expected columns of different names, found text, text"):
        read_products(path)


def test_values_become_those_of_json() -> None:
    record = {
        "text": "red",
        "count": np.int64(3),
        "rate": np.float32(0.5),
        "cost": Decimal("9.5"),
        "since": datetime.date(2024, 5, 6),
        "sizes": np.array([1, 2]),
        "pair": ("a", "b"),
        "deep": {"x": [None, True]},
        "nothing": None,
        "unknown": float("nan"),
    }
    product = read_products([record]).products[0]
    assert product == {
        "id": "0",
        "text": "red",
        "count": 3,
        "rate": 0.5,
        "cost": 9.5,
        "since": "2024-05-06",
        "sizes": [1, 2],
        "pair": ["a", "b"],
        "deep": {"x": [None, True]},
    }
    assert json.loads(json.dumps(product)) == product


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"x": object()}, "product 'p': x: expected text, a finite number, .* found object"),
        ({"x": float("inf")}, "product 'p': x: .* found inf"),
        ({"x": [{"y": {1: 2}}]}, "product 'p': x.*found dict"),
        ({"x": "\ud800"}, "product 'p': x: expected Unicode text, found a lone surrogate"),
        ({3: "x"}, "product 0: expected field names in Unicode text, found 3"),
        ({"id": "\ud800"}, "id: expected Unicode text"),
    ],
)
def test_values_that_cannot_be_stored_are_named(extra: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_products([{"id": "p", "text": "red", **extra}])


def test_bad_products_are_isolated() -> None:
    failures: list[Failure] = []
    source: list[Any] = [{"text": "red"}, {"id": "q"}, 3, {"text": 4}, {"text": "blue"}]
    batch = read_products(source, on_error=failures.append)
    assert batch.products == [{"id": "0", "text": "red"}, {"id": "4", "text": "blue"}] and batch.positions == [0, 4]
    assert [(failure.index, failure.source) for failure in failures] == [(1, "q"), (2, "2"), (3, "3")]
    assert failures[0] == Failure(1, "q", "product 'q': expected a text, an image or both, found id")
    with pytest.raises(InputError, match="expected unique ids, found more than one of x"):
        read_products([{"id": "x", "text": "a"}] * 2, on_error=failures.append)
    with pytest.raises(InputError, match="on_error: expected 'raise' or a callable that takes a Failure, found 'skip'"):
        read_products([], on_error="skip")  # type: ignore[arg-type]
