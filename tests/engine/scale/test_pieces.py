"""The pieces of a file have the products, and the failures, that the whole file has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clipshelf import ProductFields
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.scale import pieces
from clipshelf.scale.pieces import pieces_of, read_piece
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

HEADERS = (b"id,text,price\n", b"\xef\xbb\xbfID;text;price\r\n", b"sep=|\nid|text|price\n", b"\n\nid, text, price\n")
# Also rows that cannot be read, quotes without an end, cells of several lines and of other scripts, and blank lines.
ROWS = (
    "p{row},red shoe,{row}",
    'p{row},"red, ""big"" shoe",{row}',
    'p{row},"red\nshoe\r\nwarm",{row}',
    'p{row},"a\nb\nc\nd\ne\nf",{row}',
    "p{row},größer 🧦 €,{row}",
    "p{row},red",
    ",,",
    "",
    "p{row},,{row}",
    'p{row},"red,{row}',
    'p{row},red "x" shoe,{row}',
    'p{row},"red"x,{row}',
    "p1,again,{row}",
    "p{row},red\rp{row}x,blue,3",
)
LINES = (
    '{{"id": "p{row}", "text": "red shoe", "price": {row}}}',
    '{{"id": "p{row}", "Text": "größer 🧦", "size": {{"eu": {row}}}}}',
    '{{"id": "p{row}", "text": ["a", "b"]}}',
    '{{"id": "p{row}"}}',
    '{{"id": "p{row}", "text": ',
    '{{"id": "p{row}", "id": 3}}',
    "[1, 2]",
    "",
    "  \r",
    "\u2003",
    '{{"id": "p1", "text": "again"}}',
    '{{"text": "no id"}}',
)


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_BYTES", 60)
        yield


@given(
    st.sampled_from(HEADERS),
    st.lists(st.sampled_from(ROWS), min_size=1, max_size=30),
    st.sampled_from(("\n", "\r\n")),
    st.booleans(),
)
@example(HEADERS[0], [ROWS[2]] * 12, "\n", True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_in_pieces(tmp_path: Path, header: bytes, rows: list[str], end: str, has_end: bool) -> None:
    delimiter = ";" if b";" in header else "|" if b"|" in header else ","
    lines = [text.format(row=row).replace(",", delimiter) for row, text in enumerate(rows)]
    content = end.join(lines) + end * has_end
    if header.startswith(b"\n"):
        content = content.replace(",", ", ")
    path = tmp_path / "products.csv"
    path.write_bytes(header + content.encode())
    assert_same(path)


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=30), st.booleans(), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_of_json_in_pieces(tmp_path: Path, lines: list[str], has_mark: bool, has_bad_bytes: bool) -> None:
    content = "\n".join(line.format(row=row) for row, line in enumerate(lines)).encode()
    path = tmp_path / "products.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" * has_mark + content + b'\n{"id": "q", "text": "\xe9"}' * has_bad_bytes)
    assert_same(path)


def test_large_files_are_cut(tmp_path: Path) -> None:
    rows = [f"p{row},red shoe,{row}" for row in range(50)]
    (tmp_path / "products.csv").write_text("id,text,price\n" + "\n".join(rows))
    assert len(pieces_of(str(tmp_path))) == 12
    (tmp_path / "products.csv").rename(tmp_path / "products.txt")
    assert len(pieces_of(str(tmp_path))) == 12


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("products.csv", "id,text\n" + "".join(f"{row}.0,größer\n" for row in range(50))),
        ("products.csv", "id;text\n" + "".join(f"{row};größer\n" for row in range(50))),
        ("products.json", json.dumps([{"id": f"p{row}", "text": "größer"} for row in range(50)], ensure_ascii=False)),
    ],
    ids=["ids of floats", "no UTF-8", "an array"],
)
def test_a_file_whose_records_depend_on_each_other_is_one_piece(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8" if "," in content else "cp1252"))
    assert len(pieces_of(str(path))) == 1
    assert_same(path)


@pytest.mark.parametrize("row_group_size", [1, 7, 5000])
def test_a_parquet_file_in_pieces(tmp_path: Path, row_group_size: int) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = 5000 if row_group_size > 1000 else 30
    columns = {
        "id": [f"p{row % (rows - 3)}" for row in range(rows)],
        "text": ["" if row % 11 == 5 else f"red {row}" for row in range(rows)],
        "size": [{"eu": row} for row in range(rows)],
    }
    path = tmp_path / "products.parquet"
    parquet.write_table(arrow.table(columns), path, row_group_size=row_group_size)
    assert len(pieces_of(str(path))) == (5 if rows == 5000 else -(-rows // row_group_size))
    assert_same(path)


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        arrow.table({"id": arrow.array([], "string"), "text": arrow.array([], "string")}), tmp_path / "e.parquet"
    )
    assert_same(tmp_path / "e.parquet")


def assert_same(path: Path) -> None:
    """Compare the products of a file that is read as a whole with those of its pieces."""
    expected: Any
    whole: list[Failure] = []
    fields = ProductFields()
    try:
        expected = facts([read_products(path, fields=fields, on_error=whole.append, ids_required=True, convert=False)])
    except InputError as error:
        expected = str(error)
    parts: list[Failure] = []
    answer: Any
    try:
        batches = [read_piece(piece, DEFAULT_FIELDS, parts.append, convert=False) for piece in pieces_of(str(path))]
        answer = facts(batches)
    except InputError as error:
        answer = str(error)
    assert answer == expected
    # How far the reader looks for the end of a quote depends on the piece, and so does what it finds there.
    assert [replace(failure, reason=failure.reason.partition("expected CSV")[0]) for failure in parts] == [
        replace(failure, reason=failure.reason.partition("expected CSV")[0]) for failure in whole
    ]


def facts(batches: list[ProductBatch]) -> list[Any]:
    """Products, positions and fields of batches with their repeats, in the order of the source."""
    products: list[Any] = []
    for batch in map(ProductBatch.with_repeats, batches):
        products += zip(batch.positions, batch.products, map(sorted, batch.fields), strict=True)
    return sorted(products, key=lambda product: product[0])
