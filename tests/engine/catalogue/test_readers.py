from __future__ import annotations

import csv
import datetime
import gzip
import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.products import read_products
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.errors import InputError, MissingExtra
from clipshelf.failures import Failure
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
    warnings: list[str] = []
    batch = read_products([{"text": "red", "deep": deep}], on_warning=warnings.append)
    assert batch.products == [{"id": "0", "text": "red"}]
    assert "product 0: deep: expected lists and dicts nested less deeply than 100" in warnings[-1]


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
    with pytest.raises(
        InputError, match=r"that ends in \.csv, \.jsonl, \.ndjson, \.parquet, \.tsv, .* found \.xls; .* CSV"
    ):
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


def read(
    tmp_path: Path, content: str | bytes, name: str = "shop.csv", **options: Any
) -> tuple[list[Product], list[str]]:
    """The products of a file, and the warnings without the file's name."""
    path, warnings = tmp_path / name, list[str]()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    fields = ProductFields(**{name: options.pop(name) for name in vars(ProductFields()) if name in options})
    batch = read_products(path, fields=fields, on_warning=warnings.append, **options)
    products = batch.without_repeats(options.get("on_error", "raise")).products
    return products, [warning.replace(f"{path}: ", "") for warning in warnings]


SHOE = [{"id": "a", "text": "größer, red"}]


@pytest.mark.parametrize(
    ("content", "name", "warning"),
    [
        ('id;text\na;"größer, red"\n', "shop.csv", "read with semicolons between its cells"),
        ("id|text\na|größer, red\n", "shop.csv", "read with bars between its cells"),
        ("id\ttext\na\tgrößer, red\n", "shop.csv", "read with tabs between its cells"),
        ("id\ttext\na\tgrößer, red\n", "shop.tsv", ""),
        ("sep=;\r\nid;text\r\na;größer, red\r\n", "shop.csv", ""),
        ('sep=,\nid,text\na,"größer, red"\n', "shop.csv", ""),
        ('id, text\na, "größer, red"\n', "shop.csv", ""),
        ('\ufeffid,text\na,"größer, red"\n', "shop.csv", ""),
        ('id,text\ra,"größer, red"\r', "shop.csv", ""),
        ('\n\nid,text\n\na,"größer, red"\n,\n,,\n  , \n', "shop.csv", ""),
        ('id,text,\na,"größer, red",\n', "shop.csv", ""),
        ('id,text\na,"größer, red",,\n', "shop.csv", ""),
        (',id,text\n0,a,"größer, red"\n', "shop.csv", ""),
        (',id,text\nx,a,"größer, red"\n', "shop.csv", "column 1 has no name and is left out"),
        ('id,text\na,"größer, red"\n'.encode("cp1252"), "shop.csv", "read as cp1252, since it is not UTF-8"),
        ('id,text\na,"größer, red"\n'.encode("utf-16"), "shop.csv", ""),
        ('id,text\na,"größer, red"\n'.encode("utf-16-le"), "shop.csv", ""),
        ('id,text\na,"größer, red"\n'.encode("utf-16-be"), "shop.csv", ""),
        ('id,text\na,"größer, red"\n'.encode("utf-32"), "shop.csv", ""),
        (gzip.compress('id,text\na,"größer, red"\n'.encode(), mtime=0), "shop.csv.gz", ""),
        (gzip.compress("id\ttext\na\tgrößer, red\n".encode(), mtime=0), "shop.TSV.GZ", ""),
        ('id,text\na,"größer, red"\n', "shop.txt", ""),
        (gzip.compress('id,text\na,"größer, red"\n'.encode(), mtime=0), "shop.csv", ""),
        ('[{"id": "a", "text": "größer, red"}]', "shop.json", ""),
        ('\n [ {"id": "a",\n "text": "größer, red"}\n ,]\n', "shop.json", ""),
        ('{"products": [{"id": "a", "text": "größer, red"}], "n": [1]}', "shop.json", ""),
        ('{"id": "a", "text": "größer, red"}', "shop.json", ""),
        ('{"id": "a", "text": "größer, red"}\n\n', "shop.json", ""),
        ('{"id": "a", "text": "größer, red"}\n'.encode("utf-16"), "shop.jsonl", ""),
        (gzip.compress('{"id": "a", "text": "größer, red"}\n'.encode(), mtime=0), "shop.ndjson.gz", ""),
    ],
)
def test_tables_as_tools_write_them(content: str | bytes, name: str, warning: str, tmp_path: Path) -> None:
    products, warnings = read(tmp_path, content, name)
    assert products == SHOE
    assert len(warnings) == bool(warning) and "".join(warnings).startswith(warning)


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv.gz"
    path.write_bytes(gzip.compress(b"id,text\na,red\n" + (b" " * (1 << 20) + b"\n") * 65, 1, mtime=0))
    with pytest.raises(InputError, match=r"expected a file that unpacks to at most 67,108,864 bytes.*--unpacked-bytes"):
        read_products(path)
    assert read_products(path, fields=ProductFields(unpacked_bytes=66 << 20)).products == [{"id": "a", "text": "red"}]


@pytest.mark.parametrize("name", ["shop.csv.gz", "shop.jsonl.gz", "shop.json.gz"])
def test_the_limit_of_unpacked_bytes_is_for_every_kind_of_text(name: str, tmp_path: Path) -> None:
    content = b'{"id": "a", "text": "red"}\n' if "json" in name else b"id,text\na,red\n"
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0))
    with pytest.raises(InputError, match=f"at most {len(content) - 1} bytes"):
        read_products(tmp_path / name, fields=ProductFields(unpacked_bytes=len(content) - 1))
    batch = read_products(tmp_path / name, fields=ProductFields(unpacked_bytes=len(content)))
    assert batch.products == [{"id": "a", "text": "red"}]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "9"])
def test_a_limit_that_is_no_number_of_bytes_is_refused(limit: Any) -> None:
    with pytest.raises(InputError, match="unpacked_bytes: expected a number of bytes from 1 on"):
        ProductFields(unpacked_bytes=limit)


def test_a_pair_of_bytes_that_happens_to_be_a_letter_of_utf_8_does_not_decide(tmp_path: Path) -> None:
    # In cp1252, the last quote behind an umlaut has the bytes of a letter of UTF-8.
    content = "id,text\na,“grüne Schuhe in Größe Ä”\n".encode("cp1252")
    products, warnings = read(tmp_path, content)
    assert products == [{"id": "a", "text": "“grüne Schuhe in Größe Ä”"}]
    assert warnings == ["read as cp1252, since it is not UTF-8; --encoding names another encoding"]


def test_encoding_and_delimiter_can_be_named(tmp_path: Path) -> None:
    content = "id~text\na~größer, red\n"
    assert read(tmp_path, content.encode("cp850"), encoding="cp850", delimiter="~") == (SHOE, [])
    assert read(tmp_path, content.encode("utf-8-sig"), encoding="utf-8", delimiter="~") == (SHOE, [])
    with pytest.raises(InputError, match=r"line 2: expected ascii, found the byte 0xc3"):
        read(tmp_path, content, encoding="ascii", delimiter="~")
    for encoding in ("latin-99", "base64"):
        with pytest.raises(InputError, match="expected an encoding such as cp1252, found"):
            read(tmp_path, content, encoding=encoding)
    with pytest.raises(InputError, match="delimiter: expected one character"):
        read(tmp_path, content, delimiter="ab")


@pytest.mark.parametrize(
    ("content", "name", "line", "problem"),
    [
        ("id,text\n1,a\n2,b, c\n3,d\n", "shop.csv", 3, "expected 2 cells, as many as the header, found 3"),
        ("id,text,n\n1,a,\n2,b\n3,d,\n", "shop.csv", 3, "expected 3 cells, as many as the header, found 2"),
        ('id,text\n1,a\n2,"b"c\n3,d\n', "shop.csv", 3, "expected CSV"),
        ('id,text\n1,a\n2,"b\n3,d\n', "shop.csv", 3, "unexpected end of data"),
        ('id,text,n\n1,"a\nb",\n2,"b,\n3,d,\n', "shop.csv", 4, "unexpected end of data"),
        ("id,text\n1,ä\n2,".encode() + b"\xe9\n3,d\n", "shop.csv", 3, "expected UTF-8, found the byte 0xe9"),
        ("id,text\n1,a\n2,\n3,d\n", "shop.csv", 3, "product '2': expected a text, an image or both"),
        ("id,text\n1,à la Æ\n2,".encode("cp1252") + b"\x81\n3,d\n", "shop.csv", 3, "cp1252, found the byte 0x81"),
        ('{"id": 1, "text": "a"}\n{"id": 2, "text":\n{"id": 3, "text": "d"}', "shop.jsonl", 2, "one JSON object"),
        (b'[{"id": 1, "text": "a"},\n{"id": 2, "text": "\xe9"},\n{"id": 3, "text": "d"}]', "shop.json", 2, "byte 0xe9"),
        ('[{"id": 1, "text": "a"},\n{"id": 2, "id": 2},\n{"id": 3, "text": "d"}]', "shop.json", 2, "two values of"),
        (
            '{"id": 1, "text": "a"}\n{"id": 2, "text": "b", "text": "c"}\n{"id": 3, "text": "d"}',
            "s.jsonl",
            2,
            "two values",
        ),
        (b'{"id": 1, "text": "a"}\n{"id": 2, "text": "\xe9"}\n{"id": 3, "text": "d"}', "shop.jsonl", 2, "byte 0xe9"),
        ('{"id": 1, "text": "a"}\n{"id": "\\ud83d", "text": "b"}\n{"id": 3, "text": "d"}', "s.jsonl", 2, "surrogate"),
        ('{"id": 1, "text": "a"}\n' + "[" * 10**5 + '\n{"id": 3, "text": "d"}', "shop.jsonl", 2, "JSON object"),
        (
            '[{"id": 1, "text": "a"},\n\n{"id": 2},\n{"id": 3, "text": "d"}]',
            "shop.json",
            3,
            "expected a text, an image",
        ),
    ],
)
def test_a_bad_line_costs_one_product_and_is_named(
    content: str | bytes, name: str, line: int, problem: str, tmp_path: Path
) -> None:
    failures: list[Failure] = []
    products, _ = read(tmp_path, content, name, on_error=failures.append)
    assert [product["id"] for product in products] == ["1", "3"]
    assert [failure.index for failure in failures] == [1]
    assert failures[0].reason.startswith(f"{tmp_path / name}: line {line}: ") and problem in failures[0].reason
    with pytest.raises(InputError, match=f"line {line}: ") as raised:
        read(tmp_path, content, name)
    assert "--on-error skip" in "".join(raised.value.__notes__)


def test_a_quote_without_an_end_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    rows = [f"{i},shoe {i},{i}" for i in range(20)]
    rows[5] = '5,"shoe 5,5'
    rows[15] = '15,screen 15",15'
    failures: list[Failure] = []
    products, _ = read(tmp_path, "\n".join(["id,text,n", *rows]), on_error=failures.append)
    assert [product["id"] for product in products] == [str(i) for i in range(20) if i != 5]
    assert "line 7: expected CSV, found a quote that has no end" in failures[0].reason


def test_long_cells(tmp_path: Path) -> None:
    long = "x" * 200_000
    limit = csv.field_size_limit()
    assert read(tmp_path, f"id,text\na,{long}\n")[0] == [{"id": "a", "text": long}]
    failures: list[Failure] = []
    products, _ = read(tmp_path, f"id,text\na,{'x' * (1 << 24)}y\nb,c\n", on_error=failures.append)
    assert len(products) == len(failures) == 1 and "field larger than field limit" in failures[0].reason
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (b"\x1f\x8bnot", "shop.csv.gz", "expected a CSV file, found"),
        ("id,text\n1,a\n", "shop.csv.gz", "expected a CSV file, found: Not a gzipped file"),
        (
            b"PK\x03\x04...",
            "shop.csv",
            "expected a CSV file, found a ZIP file or a spreadsheet, which can be saved as CSV",
        ),
        (b"PAR1...", "shop.jsonl", "expected JSON Lines, found a Parquet file"),
        (f"{'x' * 1000},y\n1,2\n", "shop.csv", "found x{80}\\.\\.\\., y;"),
        ("[{]", "shop.json", "line 1: expected a JSON object in an array"),
        ('[{"id": 1}\n{"id": 2}]', "shop.json", "line 1: expected a comma after this object"),
        ('[{"id": 1, "text": "a"},', "shop.json", "one without its end"),
        ('{"text": {"0": "a"}, "id": {"0": 1}}', "shop.json", r"an object of text, id; .*orient='records'"),
        ("3", "shop.json", "expected an array of JSON objects, one a product, found int"),
        (b"id,t\xe9xt,\xc3\xa4\n", "shop.csv", "line 1: expected a header in UTF-8, found the byte 0xe9"),
        ('id,"text\n', "shop.csv", "line 1: expected a header in CSV"),
        (
            "id,text,id \n1,a,2\n",
            "shop.csv",
            "different names, found id, text, id: rename or drop one of the columns id",
        ),
    ],
)
def test_files_that_cannot_be_read(content: str | bytes, name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem):
        read(tmp_path, content, name, on_error=lambda failure: None)


def test_repeated_ids_are_named_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"shop\.csv: id: expected unique ids, found more than one of x \(lines 2, 4\)"
    ):
        read(tmp_path, "id,text\nx,a\ny,b\nx,c\n")
    failures: list[Failure] = []
    products = read(tmp_path, "id,text\nx,a\ny,b\nx,c\n", on_error=failures.append)[0]
    assert [product["text"] for product in products] == ["a", "b"]
    assert [(failure.index, failure.source) for failure in failures] == [(2, "x")]
    assert re.search(r"shop\.csv: line 4: id: .* found 'x' again, which line 2 has", failures[0].reason)


def test_parquet_of_many_types(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    day = datetime.datetime(2026, 5, 1, 9, 30, 0, 123456)
    columns = {
        "id": arrow.array([1], arrow.int64()),
        "text": arrow.array(["red"], arrow.large_string()),
        "image": arrow.array([{"bytes": b"png", "path": "a.png"}]),
        "kind": arrow.array(["x"]).dictionary_encode(),
        "day": arrow.array([day.date()]),
        "time": arrow.array([1777627800123456789], arrow.timestamp("ns", "UTC")),
        "took": arrow.array([1500000001], arrow.duration("ns")),
        "cost": arrow.array([Decimal("9.50")]),
        "half": arrow.array([np.float16(0.5)], arrow.float16()),
        "thumb": arrow.array([b"jpeg"]),
        "more": arrow.array([{"bytes": b"jpeg", "path": None}]),
        "map": arrow.array([[("a", 1)]], arrow.map_(arrow.string(), arrow.int64())),
        "none": arrow.nulls(1),
        "list": arrow.array([[1.5, None]]),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "shop.parquet")
    warnings: list[str] = []
    products = read_products(tmp_path / "shop.parquet", on_warning=warnings.append).products
    assert [(key, value) for key, value in products[0].items() if key not in ("time", "took")] == [
        ("id", "1"),
        ("image", b"png"),
        ("text", "red"),
        ("kind", "x"),
        ("day", "2026-05-01"),
        ("cost", 9.5),
        ("half", 0.5),
        ("map", [["a", 1]]),
        ("list", [1.5, None]),
    ]
    assert products[0]["time"].startswith("2026-05-01T09:30:00.123456")
    assert products[0]["took"] == pytest.approx(1.5)
    assert sorted(warnings) == [
        f"column {name}: 1 value is left out, since no record can hold such: product 1: {name}{field}: expected text, "
        "a finite number, true, false, or lists and dicts of these, found bytes"
        for name, field in (("more", ".bytes"), ("thumb", ""))
    ]


def test_an_index_with_a_name_is_a_column_of_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ["a"], "text": ["red"], "day": [pandas.NaT]}).set_index("id")
    assert read_products(frame).products == [{"id": "a", "text": "red"}]
    frame = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(InputError, match="table: expected columns of different names, found text, text"):
        read_products(frame)
