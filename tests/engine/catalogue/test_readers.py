from __future__ import annotations

import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.products import Skipped, read_products
from clipshelf.catalogue.readers import Fields
from clipshelf.errors import InputError, MissingExtra
from clipshelf.types import Product

RECORDS: list[Product] = [
    {"id": "a", "text": "red", "price": 3, "tags": ["x", "y"]},
    {"id": "b", "text": "blue", "price": 4, "tags": []},
]


def test_json_lines(tmp_path: Path) -> None:
    for name in ("shop.jsonl", "shop.NDJSON"):
        path = tmp_path / name
        path.write_text("\ufeff" + "\n\n".join(json.dumps(record) for record in RECORDS), encoding="utf-8")
        batch = read_products(path)
        assert batch.products == RECORDS and batch.root == tmp_path
    path.write_text('{"text": "red"}\n{"text": ')
    with pytest.raises(InputError, match=r"shop\.NDJSON: line 2: expected one JSON object"):
        read_products(path)
    path.write_text("[1]\n")
    with pytest.raises(InputError, match="product 0: expected a dict with text, image or both, found list"):
        read_products(path)
    path.write_bytes(b'{"text": "red"}\n{"text": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"line 2: expected one JSON object in UTF-8, found: .*0xe9"):
        read_products(path)
    with pytest.raises(InputError, match=r"expected JSON Lines, found: .*No such file"):
        read_products(tmp_path / "nowhere.jsonl")
    deep = "[" * 900 + "]" * 900
    path.write_text(f'{{"text": "red", "deep": {deep}}}\n')
    with pytest.raises(InputError, match="product 0: expected lists and dicts nested less deeply"):
        read_products(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "one named text or image, found no columns"),
        (b"name,price\nx,1\n", "one named text or image, found name, price"),
        (b"id;text\n1;red\n", "expected columns with commas between, one named text or image, found id;text"),
        (b"id,text\n1,caf\xe9\n", "expected a CSV file in UTF-8, found: .*0xe9"),
        ("id,text\n1,red\n".encode("utf-16"), "expected a CSV file in UTF-8"),
        (b'id,text\n1,red\n2,"blue\n3,green\n', "after line 2: expected CSV, found: unexpected end of data"),
        (b"id,text,price\n1,red,3\n2,blue\n", "row 3: expected 3 cells"),
        (b"id,text\n1,red,3\n", "row 2: expected 2 cells"),
        (b"id,text\n1,red\n1,blue\n", "expected unique ids, found more than one of 1"),
        (b"id,text,image\n1,red,\n2,,\n", "product '2': expected a text, an image or both"),
    ],
)
def test_a_csv_that_is_none_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_products(tmp_path / "shop.csv")
    with pytest.raises(InputError, match=r"nowhere\.csv: expected a CSV file"):
        read_products(tmp_path / "nowhere.csv")


def test_a_csv_may_have_a_mark_blank_lines_and_lines_in_quotes(tmp_path: Path) -> None:
    content = '\ufeffid,text\r\n\r\n1,"red\nshoe, ""new"""\r\n2,日本\r\n'
    (tmp_path / "shop.csv").write_bytes(content.encode())
    assert read_products(tmp_path / "shop.csv").products == [
        {"id": "1", "text": 'red\nshoe, "new"'},
        {"id": "2", "text": "日本"},
    ]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"that ends in \.csv, \.jsonl, \.ndjson, \.parquet, found \.xls"):
        read_products(tmp_path / "shop.xls")
    for source in ({"text": "red"}, b"red", 3):
        with pytest.raises(InputError, match="products: expected a file, a table or dicts, found"):
            read_products(source)  # type: ignore[arg-type]


def test_columns_have_the_names_that_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("sku,title,photo,price\n007,red,r.png,3\n008,12,,4\n")
    batch = read_products(path, fields=Fields("sku", "title", "photo"))
    assert batch.products == [
        {"id": "007", "text": "red", "image": "r.png", "price": 3.0},
        {"id": "008", "text": "12", "price": 4.0},
    ]
    with pytest.raises(InputError, match="one named text or image, found sku, title, photo, price"):
        read_products(path)
    with pytest.raises(InputError, match="expected one column for text, found title and text: rename or drop one"):
        read_products([{"title": "x", "text": "y"}], fields=Fields(text="title"))
    path.write_text("text,text\nx,y")
    with pytest.raises(InputError, match="expected columns of different names, found text, text"):
        read_products(path)


def test_numbers_for_ids_and_texts_stay_as_they_are_spelt(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("id,text,stock\n1,501,2\n2,502,\n")
    products = read_products(path).products
    assert products == [{"id": "1", "text": "501", "stock": 2.0}, {"id": "2", "text": "502"}]


def test_values_become_plain_ones() -> None:
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
def test_values_that_cannot_be_kept_are_named(extra: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_products([{"id": "p", "text": "red", **extra}])


def test_bad_products_are_isolated() -> None:
    batch = read_products([{"text": "red"}, {"id": "q"}, 3, {"text": 4}], on_error="skip")  # type: ignore[list-item]
    assert batch.products == [{"id": "0", "text": "red"}]
    assert [skipped.id for skipped in batch.skipped] == ["q", "2", "3"]
    assert batch.skipped[0] == Skipped("q", "product 'q': expected a text, an image or both, found id")
    with pytest.raises(InputError, match="expected unique ids, found more than one of x"):
        read_products([{"id": "x", "text": "a"}] * 2, on_error="skip")


def test_parquet_says_which_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r'pip install "clipshelf\[parquet\]"'):
        read_products(tmp_path / "shop.parquet")


def test_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.Table.from_pylist([{**record, "image": b"png"} for record in RECORDS])
    parquet.write_table(table, tmp_path / "shop.parquet")
    expected = [{**record, "image": b"png"} for record in RECORDS]
    assert read_products(tmp_path / "shop.parquet").products == expected
    assert read_products(table).products == expected
    (tmp_path / "shop.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"shop\.parquet: expected a Parquet file"):
        read_products(tmp_path / "shop.parquet")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library: str) -> None:
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"id": ["a", None], "text": ["red", "blue"], "price": [3.5, None], "tags": [["x"], []]})
    assert read_products(frame).products == [
        {"id": "a", "text": "red", "price": 3.5, "tags": ["x"]},
        {"id": "1", "text": "blue", "tags": []},
    ]
    with pytest.raises(InputError, match=r"found Series|expected a dict .*, found str"):
        read_products(frame["text"])
