"""The examples of docs/catalogues.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from clipshelf.catalogue.products import read_products
from clipshelf.catalogue.reading.readers import SUFFIXES, ProductFields
from clipshelf.catalogue.typed_columns.cells import is_nothing, number_of
from clipshelf.catalogue.typed_columns.columns import columns_of
from clipshelf.catalogue.typed_columns.inference import CODE_WORD
from clipshelf.catalogue.typed_columns.kinds import KINDS

PAGE = (Path(__file__).parents[3] / "docs/catalogues.md").read_text()


def section(title: str) -> str:
    """The text of a section up to the next title."""
    return re.split(r"^#+ ", PAGE.split(f"# {title}\n")[1], flags=re.MULTILINE)[0]


def test_numbers_are_read_as_the_table_says() -> None:
    rows = re.findall(r"^\| `(.+)` \| ([0-9.]+) \|$", section("Numbers"), re.MULTILINE)
    assert len(rows) == 9
    for cell, value in rows:
        assert number_of(cell) == float(value)


def test_the_lists_of_words_are_complete() -> None:
    words = re.search(r"one of `([^`]+)`", section("Codes"))
    assert words is not None and all(CODE_WORD.fullmatch(word) for word in words[1].split())
    assert len(words[1].split()) == CODE_WORD.pattern.count("|") + 1
    always, elsewhere = (re.findall("`([^`]+)`", part) for part in section("Missing values").split("no value. In"))
    assert len(always) == 13 and all(is_nothing(cell) for cell in always)
    assert all(is_nothing(cell, text=False) and not is_nothing(cell) for cell in elsewhere)
    assert set(KINDS) <= set(re.findall("`([a-z]+)`", section("Columns and their kinds")))
    assert all(f"`{suffix}`" in section("What is accepted") for suffix in SUFFIXES)


def test_the_example(tmp_path: Path) -> None:
    example = section("Example")
    (tmp_path / "shop.csv").write_text(example.split("```csv\n")[1].split("```")[0])
    fields = ProductFields(id="sku", columns={"since": "date:%d.%m.%Y"})
    assert "fields = " + repr(fields).split("(")[0] in example
    batch = read_products(tmp_path / "shop.csv", fields=fields)
    assert [product["id"] for product in batch.products] == ["0815", "0816", "0817"]
    assert batch.products[1]["price"] == "1.099,00 €"
    columns = columns_of(batch.products, batch.declarations)
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \| (.+) \|$", example, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(columns)
    for name, kind, listed in rows:
        column = columns[name]
        values = [None if code < 0 else column.values[code] for code in column.codes.tolist()]
        assert kind == column.kind
        assert listed == ", ".join(
            "none" if value is None else value if isinstance(value, str) else json.dumps(value).removesuffix(".0")
            for value in values
        )
