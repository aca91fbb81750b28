"""What pandas and polars write as CSV, JSON Lines and Parquet comes back as the records of the table itself."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.typed_columns.columns import columns_of
from clipshelf.types import Product
from hypothesis import given, settings
from hypothesis import strategies as st

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pytest.importorskip("pyarrow")

# Text as it stands in tables, with what CSV must quote; a text that spells nothing would be a missing one.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from('\n",;\t '), min_size=4
).filter(lambda text: text.strip() and text.strip() == text and text not in ("None", "NULL", "null", "#N/A", "<NA>"))
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6).map(lambda number: round(number, 4))
MOMENTS = st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2200, 1, 1)).map(
    lambda t: t.replace(microsecond=0)
)


def rows(values: dict[str, Any]) -> Any:
    """A strategy of tables: lists of rows of the same columns."""
    return st.lists(st.fixed_dictionaries(values), min_size=1, max_size=8)


COLUMNS = {
    "text": TEXTS,
    "price": st.floats(0, 1e4).map(lambda number: round(number, 2)) | st.none(),
    "stock": st.integers(0, 10**6),
    "brand": st.sampled_from(["Adidas", "Ecco Åre", "L'Eau", "7 For All", "Nike, Inc."]) | st.none(),
    "new": st.booleans(),
    "since": MOMENTS,
}


def table(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"sku-{i}", **record} for i, record in enumerate(records)]


def pandas_frame(records: list[dict[str, Any]]) -> Any:
    return pandas.DataFrame(records).astype({"price": "float64", "brand": "object"})


def polars_frame(records: list[dict[str, Any]]) -> Any:
    schema = {"id": polars.String, "text": polars.String, "price": polars.Float64, "stock": polars.Int64}
    return polars.DataFrame(
        records, schema={**schema, "brand": polars.String, "new": polars.Boolean, "since": polars.Datetime("us")}
    )


WRITERS: dict[str, tuple[Callable[[Any], Any], str, Callable[[Any, Path], object]]] = {
    "pandas to_csv": (pandas_frame, "csv", lambda frame, path: frame.to_csv(path)),
    "pandas to_csv for Excel": (
        pandas_frame,
        "csv",
        lambda frame, path: frame.to_csv(path, sep=";", decimal=",", index=False, encoding="utf-8-sig"),
    ),
    "pandas to_csv utf-16": (pandas_frame, "tsv", lambda frame, path: frame.to_csv(path, sep="\t", encoding="utf-16")),
    "pandas to_csv gz": (pandas_frame, "csv.gz", lambda frame, path: frame.to_csv(path, index=False)),
    "pandas to_json lines": (
        pandas_frame,
        "jsonl",
        lambda frame, path: frame.to_json(path, orient="records", lines=True, date_format="iso"),
    ),
    "pandas to_json": (
        pandas_frame,
        "json",
        lambda frame, path: frame.to_json(path, orient="records", date_format="iso"),
    ),
    "pandas to_parquet": (pandas_frame, "parquet", lambda frame, path: frame.to_parquet(path)),
    "polars write_csv": (polars_frame, "csv", lambda frame, path: frame.write_csv(path)),
    "polars write_csv tabs": (polars_frame, "tsv", lambda frame, path: frame.write_csv(path, separator="\t")),
    "polars write_ndjson": (polars_frame, "ndjson", lambda frame, path: frame.write_ndjson(path)),
    "polars write_json": (polars_frame, "json", lambda frame, path: frame.write_json(path)),
    "polars write_parquet": (polars_frame, "parquet", lambda frame, path: frame.write_parquet(path)),
}


def filter_values(batch: ProductBatch) -> dict[str, list[Any]]:
    """What filters compare: the kind of each column, and the values of its rows."""
    columns = columns_of(batch.products, batch.declarations)
    return {
        name: [column.kind, *(None if code < 0 else column.values[code] for code in column.codes.tolist())]
        for name, column in sorted(columns.items())
    }


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=25, deadline=None)
@given(records=rows(COLUMNS).map(table))
def test_what_a_library_writes_comes_back(
    writer: str, records: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    make, suffix, write = WRITERS[writer]
    path = tmp_path_factory.mktemp("written") / f"shop.{suffix}"
    write(make(records), path)
    found, expected = read_products(path), read_products(make(records))
    assert filter_values(found) == filter_values(expected)
    for product, same in zip(found.products, expected.products, strict=True):
        assert plain(product) == plain(same)


def plain(product: Product) -> Product:
    """A record without what CSV cannot tell: how a time is spelt, and a decimal comma."""
    spelt = {"since": product["since"].replace(" ", "T")[:19].removesuffix("T00:00:00")}
    price = {"price": float(str(product["price"]).replace(",", "."))} if "price" in product else {}
    return {**product, **spelt, **price}


@settings(max_examples=50, deadline=None)
@given(cells=st.lists(TEXTS | NUMBERS.map(str), min_size=1, max_size=12))
def test_a_column_of_text_comes_back_as_it_was(cells: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("written") / "shop.csv"
    frame = pandas.DataFrame({"id": [f"sku-{i}" for i in range(len(cells))], "text": cells, "code": cells})
    frame.to_csv(path, index=False)
    found = read_products(path).products
    assert [product["text"] for product in found] == cells
    assert [str(product["code"]) for product in found] == [
        cell if isinstance(product["code"], str) else str(product["code"])
        for cell, product in zip(cells, found, strict=True)
    ]
    assert all(
        float(cell) == product["code"] for cell, product in zip(cells, found, strict=True) if product["code"] != cell
    )
