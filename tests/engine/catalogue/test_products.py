from __future__ import annotations

import datetime
import json
import re
import uuid
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.ids import product_id
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.types import Product


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
        ({3: "x"}, "product 0: expected field names in Unicode text, found 3"),
        ({"id": "\ud800"}, "id: expected Unicode text"),
        ({"text": "\ud800"}, "product 'p': text: expected Unicode text, found a lone surrogate"),
    ],
)
def test_names_ids_and_texts_that_cannot_be_stored_are_named(extra: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_products([{"id": "p", "text": "red", **extra}])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "x: expected text, a finite number, true, false, or lists and dicts of these, found object"),
        (float("inf"), "found inf"),
        ([{"y": {1: 2}}], "found dict"),
        ("\ud800", "x: expected Unicode text, found a lone surrogate"),
        (b"\xff", "found bytes"),
    ],
)
def test_a_value_that_no_record_can_hold_costs_itself_alone(value: object, message: str) -> None:
    batch, warnings = read([{"id": "p", "text": "red", "x": value, "y": 1}, {"id": "q", "text": "blue", "x": 2}])
    assert batch.products == [{"id": "p", "text": "red", "y": 1}, {"id": "q", "text": "blue", "x": 2}]
    assert len(warnings) == 1 and message in warnings[0]
    assert warnings[0].startswith("column x: 1 value is left out, since no record can hold such: product 'p': x")


def test_bad_products_are_isolated() -> None:
    failures: list[Failure] = []
    source: list[Any] = [{"text": "red"}, {"id": "q"}, 3, {"text": 4}, {"text": "blue"}]
    batch = read_products(source, on_error=failures.append)
    assert batch.products == [{"id": "0", "text": "red"}, {"id": "4", "text": "blue"}] and batch.positions == [0, 4]
    assert [(failure.index, failure.source) for failure in failures] == [(1, "q"), (2, "2"), (3, "3")]
    assert failures[0] == Failure(1, "q", "product 'q': expected a text, an image or both, found id")
    with pytest.raises(InputError, match="on_error: expected 'raise' or a callable that takes a Failure, found 'skip'"):
        read_products([], on_error="skip")  # type: ignore[arg-type]


def test_of_products_with_one_id_the_first_counts() -> None:
    source: list[Product] = [{"id": "x", "text": "a"}, {"id": 2, "text": "b"}, {"text": "c"}, {"id": "x", "text": "d"}]
    source += [{"id": "2", "text": "e"}, {"id": "y", "text": "f"}]
    with pytest.raises(
        InputError, match=r"unique ids, found more than one of x \(products 0, 3\), 2 \(products 1, 2, 4\)"
    ):
        read_products(source)
    failures: list[Failure] = []
    batch = read_products(source, on_error=failures.append)
    assert [product["text"] for product in batch.products] == ["a", "b", "f"] and batch.positions == [0, 1, 5]
    assert len(batch.fields) == 3 and failures == []
    assert batch.without_repeats(failures.append).repeats == ()
    expected = "id: expected unique ids, found {} again, which product {} has"
    assert failures == [
        Failure(2, "2", expected.format("'2'", 1)),
        Failure(3, "x", expected.format("'x'", 0)),
        Failure(4, "2", expected.format("'2'", 1)),
    ]


def test_an_id_of_the_source_goes_before_a_position() -> None:
    failures: list[Failure] = []
    source: list[Product] = [{"text": "without an id"}, {"id": "0", "text": "with one"}]
    batch = read_products(source, on_error=failures.append).without_repeats(failures.append)
    assert batch.products == [{"id": "0", "text": "with one"}] and [failure.index for failure in failures] == [0]


def read(source: Any, **options: Any) -> tuple[ProductBatch, list[str]]:
    """The batch of a source, and the warnings."""
    warnings: list[str] = []
    return read_products(source, on_warning=warnings.append, **options), warnings


def csv(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "shop.csv"
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            ProductFields(image="foto"),
            "expected a column named foto, found sku, Titel, photo, price; did you mean photo?",
        ),
        (ProductFields(id="nummer", text="Titel"), "expected a column named nummer, found sku, Titel, photo, price"),
        (ProductFields(text="Titel", columns={"prices": "number"}), "named prices, found .*; did you mean price?"),
        (ProductFields(text="Titel", columns={"titel": "text"}), "columns: expected declarations of others than id"),
        (ProductFields(), "one named text or image, found sku, Titel, photo, price; --text-column"),
    ],
)
def test_a_name_that_no_column_has_is_an_error(fields: ProductFields, message: str, tmp_path: Path) -> None:
    path = csv(tmp_path, "sku,Titel,photo,price\n1,red,,3\n")
    for source in (path, [{"sku": 1, "Titel": "red", "photo": None, "price": 3}]):
        if fields == ProductFields() and source != path:
            message = "expected a text, an image or both"
        with pytest.raises(InputError, match=message):
            read_products(source, fields=fields)


def test_names_that_differ_in_case_or_blanks_are_taken_and_told(tmp_path: Path) -> None:
    batch, warnings = read(csv(tmp_path, "ID,Text ,PRICE\nx,red,3\n"), fields=ProductFields(columns={"price": "text"}))
    assert batch.products == [{"id": "x", "text": "red", "PRICE": "3"}]
    assert [warning.split(": ", 1)[1] for warning in warnings] == [
        "the column 'ID' is taken for 'id'",
        "the column 'Text' is taken for 'text'",
        "the column 'PRICE' is taken for 'price'",
    ]
    batch, warnings = read([{"sku ": 7, "Text": "red"}], fields=ProductFields(id="SKU"))
    assert batch.products == [{"id": "7", "text": "red"}] and len(warnings) == 2
    with pytest.raises(InputError, match="expected one column named id, found 'ID', 'Id'"):
        read([{"ID": 7, "Id": 8, "text": "red"}])
    batch, warnings = read([{"id": 7, "ID": 8, "text": "red"}])
    assert batch.products == [{"id": "7", "text": "red", "ID": 8}]
    assert warnings == ["the column 'ID' is another one than 'id'"]


def test_a_partial_product_needs_neither_text_nor_image(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,price,image\na,3,\nb,,b.png\n")
    batch, _ = read(path, partial=True, ids_required=True)
    assert batch.products == [{"id": "a", "price": 3}, {"id": "b", "image": "b.png"}]
    assert list(batch.fields) == [frozenset({"id", "price", "image"})] * 2
    fields = ProductFields(id="sku", text="title")
    batch, _ = read([{"sku": 1, "title": None}, {"sku": 2, "price": 3}], fields=fields, partial=True)
    assert list(batch.fields) == [{"id", "text"}, {"id", "price"}] and batch.products[0] == {"id": "1"}
    with pytest.raises(InputError, match="expected a column named id, found price; --id-column"):
        read(csv(tmp_path, "price\n3\n"), partial=True, ids_required=True)


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        (15970, "15970"),
        ("15970", "15970"),
        (15970.0, "15970"),
        (Decimal("15970"), "15970"),
        (np.int32(15970), "15970"),
        (np.float64(15970), "15970"),
        (np.str_("15970"), "15970"),
        (1.5, "1.5"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (datetime.date(2026, 5, 1), "2026-05-01"),
        ("", ""),
        *[(value, None) for value in (None, True, float("nan"), float("inf"), [1], b"x", "\ud83d", object(), {})],
    ],
)
def test_an_id_is_the_same_whatever_type_it_has(value: object, id_: str | None) -> None:
    if id_ is None:
        with pytest.raises(InputError, match="id: expected"):
            product_id(value)
    else:
        assert product_id(value) == id_
        if id_:
            assert read_products([{"id": value, "text": "red"}]).products[0]["id"] == id_


def test_ids_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [15970, None, 15972], "text": ["red", "blue", "green"]})
    batch, warnings = read(frame)
    assert [product["id"] for product in batch.products] == ["15970", "1", "15972"]
    assert warnings == [
        "1 of 3 products have no id and get their positions as ids",
        "ids are floats, as beside a missing one: 15970.0 is read as 15970",
    ]
    assert [product["id"] for product in read(frame.astype({"id": "Int64"}))[0].products] == ["15970", "1", "15972"]
    assert read([{"id": pandas.NA, "text": "red"}])[0].products == [{"id": "0", "text": "red"}]


def test_missing_and_float_ids_of_a_file_are_told(tmp_path: Path) -> None:
    batch, warnings = read(csv(tmp_path, "id,text\n15970.0,red\n,blue\n15972.0,green\n"))
    assert [product["id"] for product in batch.products] == ["15970", "1", "15972"]
    assert warnings[1] == "ids end in .0, as floats beside a missing id do: they are read without it"
    batch, warnings = read(csv(tmp_path, "id,text\n x1 ,red\nx2,blue\n"))
    assert [product["id"] for product in batch.products] == ["x1", "x2"]
    assert warnings == ["ids have blanks around them: they are read without these"]
    assert read([])[1] == ["products: there are no products"]
    assert read(csv(tmp_path, "sku,text\n7,red\n"))[1] == [
        "no column id: products get their positions as ids; --id-column names the column of ids"
    ]


def test_numbers_in_plain_spelling_are_numbers_in_the_record_and_all_else_stays(tmp_path: Path) -> None:
    content = (
        "id,text,price,ean,new,since\na,x,89.90,4006381333931,True,2026-05-01\n"
        'b,x,"1,099.00",N/A,False,\nc,x,45,,N/A,\n'
    )
    batch, warnings = read(csv(tmp_path, content))
    assert batch.products == [
        {"id": "a", "text": "x", "price": 89.9, "ean": "4006381333931", "new": True, "since": "2026-05-01"},
        {"id": "b", "text": "x", "price": "1,099.00", "ean": "N/A", "new": False},
        {"id": "c", "text": "x", "price": 45, "new": "N/A"},
    ]
    assert batch.declarations == {"price": "number", "ean": "text", "new": "bool", "since": "date"}
    assert json.dumps(batch.products[2]["price"]) == "45" and warnings == []


def test_declarations_of_the_catalogue_hold_for_later_rows(tmp_path: Path) -> None:
    known = {"size": "text", "price": "number", "gone": "bool", "new": ""}
    content = "id,text,size,price,new\na,x,43,soon,7\nb,x,0401,n/a,8\n"
    batch, warnings = read(csv(tmp_path, content), declarations=known)
    assert batch.products[0] == {"id": "a", "text": "x", "size": "43", "price": "soon", "new": 7}
    assert batch.declarations == {**known, "new": "number"}
    assert warnings == [
        "column price: 1 value counts as missing, since the kind is number: 'soon' of 'a'; "
        "declare price:text to keep all values"
    ]
    batch, warnings = read(
        csv(tmp_path, content), declarations=known, fields=ProductFields(columns={"price": "text", "gone": "text"})
    )
    assert batch.declarations["price"] == batch.declarations["gone"] == "text" and warnings == []


@pytest.mark.parametrize(
    ("cells", "warning"),
    [
        (["$5", "7 €"], "column x: it has amounts with several units, $, €, which are compared as they are"),
        (["5%", "7"], "column x: it has amounts with several units, %, none, which are compared as they are"),
        (["1,5", "2.5", "1,099"], "column x: it has decimal points and decimal commas; '1,099' is read as 1099"),
        (["1", "2", "from 3"], "column x: it is text, since 'from 3' is no number as most others are"),
        (["1", "2", "03"], "column x: it is text, since '03' is no number as most others are"),
        (["31.12.2025", "1.1.2026"], "column x: it is text, although it looks like dates; declare a format, .*"),
        (["1,5", "2.5"], None),
        (["S", "42"], None),
    ],
)
def test_doubtful_columns_are_told(cells: list[str], warning: str | None) -> None:
    warnings = read([{"id": i, "text": "red", "x": cell} for i, cell in enumerate(cells)])[1]
    assert len(warnings) == (warning is not None)
    assert warning is None or re.fullmatch(warning.replace("$", r"\$"), warnings[0])


def test_spellings_of_nothing_are_no_id_text_or_picture(tmp_path: Path) -> None:
    batch, _ = read(csv(tmp_path, "id,text,image\nN/A,red,nan\nb,NULL,b.png\n"))
    assert batch.products == [{"id": "0", "text": "red"}, {"id": "b", "image": "b.png"}]


def test_pictures_of_bytes_and_path() -> None:
    images: list[Any] = [{"bytes": b"png", "path": "a.png"}, {"bytes": None, "path": "a.png"}, {"path": "a.png"}]
    products = read_products([{"image": image} for image in images]).products
    assert [product["image"] for product in products] == [b"png", "a.png", "a.png"]
    assert read_products([{"text": "red", "image": {"bytes": None, "path": None}}]).products == [
        {"id": "0", "text": "red"}
    ]
    with pytest.raises(InputError, match="image: expected a picture, or a dict of its bytes or path, found one of url"):
        read_products([{"image": {"url": "x"}}])


def test_values_of_further_types_are_stored_in_the_nearest_type_of_json() -> None:
    pandas = pytest.importorskip("pandas")
    values = {
        "ns": np.datetime64("2026-05-01T09:30:00.000000001"),
        "nat": np.datetime64("NaT"),
        "na": pandas.NA,
        "pandas nat": pandas.NaT,
        "stamp": pandas.Timestamp("2026-05-01T09:30"),
        "took": datetime.timedelta(minutes=1),
        "uuid": uuid.UUID(int=7),
        "path": Path("x"),
        "set": {"b", "a"},
        "nan": np.float32("nan"),
        "list": [1, float("nan"), None, "", pandas.NA],
        "bytes": b"x",
        "in bytes": [{"a": b"x"}],
    }
    batch, warnings = read([{"id": 1, "text": "red", **values}])
    assert batch.products == [
        {
            "id": "1",
            "text": "red",
            "ns": "2026-05-01T09:30:00",
            "stamp": "2026-05-01T09:30:00",
            "took": 60,
            "uuid": "00000000-0000-0000-0000-000000000007",
            "path": "x",
            "set": ["a", "b"],
            "list": [1, None, None, "", None],
        }
    ]
    assert [warning.split(":")[0] for warning in warnings] == ["column bytes", "column in bytes"]


def test_records_may_be_any_mapping() -> None:
    assert read([MappingProxyType({"text": "red"})])[0].products == [{"id": "0", "text": "red"}]
