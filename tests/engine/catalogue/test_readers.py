from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from clipshelf.catalogue.products import read_products
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


def test_values_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    path, levels = tmp_path / "shop.jsonl", 100_000  # the parser of every Python stops before
    path.write_text('{"text": "red", "deep": ' + "[" * levels + "]" * levels + "}")
    with pytest.raises(InputError, match=r"line 1: expected one JSON object in UTF-8, found: .*decoding a JSON array"):
        read_products(path)
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputError, match="product 0: expected lists and dicts nested less deeply"):
        read_products([{"text": "red", "deep": deep}])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "one named text or image, found no columns"),
        (b"name,price\nx,1\n", "one named text or image, found name, price"),
        (b"id~text\n1~red\n", "expected columns, one named text or image, found id~text"),
        ("id,text\n1,café\n2,".encode() + b"caf\xe9\n", "line 3: expected UTF-8, found the byte 0xe9"),
        (b'id,text\n1,red\n2,"blue\n3,green\n', "line 3: expected CSV, found: unexpected end of data"),
        (b"id,text,price\n1,red,3\n2,blue\n", "line 3: expected 3 cells, as many as the header, found 2"),
        (b"id,text\n1,red,3\n", "line 2: expected 2 cells, as many as the header, found 3"),
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
    with pytest.raises(InputError, match=r"that ends in \.csv, \.jsonl, \.ndjson, \.parquet, \.tsv, .* found \.xls; .* CSV"):
        read_products(tmp_path / "shop.xls")
    for source in ({"text": "red"}, b"red", 3):
        with pytest.raises(InputError, match="products: expected a file, a table or dicts, found"):
            read_products(source)  # type: ignore[arg-type]


def test_numbers_for_ids_and_texts_stay_as_they_are_spelt(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("id,text,stock\n1,501,2\n2,502,\n")
    products = read_products(path).products
    assert products == [{"id": "1", "text": "501", "stock": 2.0}, {"id": "2", "text": "502"}]


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
