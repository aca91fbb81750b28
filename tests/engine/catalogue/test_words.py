"""Tokens, and the index of words: built, saved, edited, and matched as BM25 by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, ProductFields, index
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.indexing import change
from clipshelf.catalogue.lexical.tokens import folded, query_tokens, tokens, whole_token
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.errors import CatalogueError, InputError
from clipshelf.types import Product
from hypothesis import given, settings
from hypothesis import strategies as st

FIELDS = ProductFields(words=("text", "sku", "brand"))
SHOP: list[Product] = [
    {"id": "a", "text": "a red shoe", "sku": "DM-1942", "brand": "New Balance"},
    {"id": "b", "text": "red red shirt", "sku": "DM-1943", "brand": "Größer"},
    {"id": "c", "text": "blue watch", "sku": 1942},
    {"id": "d", "text": "green shoe, warm", "tags": ["x"]},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DM-1942", ["dm1942", "dm", "1942"]),
        ("Größe, GROESSE grosse", ["grosse", "grosse", "grosse"]),
        ("Köln Koeln blue neue quer", ["koln", "koln", "blu", "neue", "quer"]),
        ("café CAFÉ cafe\u0301", ["cafe", "cafe", "cafe"]),
        ("well-known 12.5mm / A4", ["well", "known", "125mm", "12", "5mm", "a4"]),
        ("\uff46\uff55\uff4c\uff4c 赤い靴 \u2460", ["full", "赤い靴", "1"]),
        ("!? --", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert list(tokens(text)) == expected


def test_tokens_of_queries_and_of_whole_values() -> None:
    assert query_tokens("new balance, new") == (["new", "balance"], ["newbalance", "balancenew", "newbalancenew"])
    assert whole_token("DM 1942/B") == "dm1942b" and not whole_token("w " * 99)
    assert folded("STRASSE") == folded("Straße") == "strasse"


def bm25(products: list[Product], columns: tuple[str, ...], text: str) -> dict[int, float]:
    """L of the formula of docs/shop.md, product by product."""
    lists: list[list[str]] = []
    for product in products:
        words: list[str] = []
        for column in columns:
            if column in product:
                value = str(product[column])
                own = list(tokens(value))
                words += own
                if column != "text" and whole_token(value) not in own:
                    words.append(whole_token(value))
        lists.append(words)
    mean = max(1.0, sum(map(len, lists)) / len(lists))
    sure, neighbours = query_tokens(text)
    wanted = sure + [token for token in neighbours if any(token in words for words in lists)]
    having = {token: sum(token in words for words in lists) for token in wanted}
    common, count = max(16, len(lists) // 8), len(lists)
    idf = {t: math.log(1 + (count - n + 0.5) / (n + 0.5)) for t, n in having.items() if n <= common}
    found = {}
    for row, words in enumerate(lists):
        total = 0.0
        for token, weight in idf.items():
            tf = words.count(token)
            code = 4 if len(token) > 2 and any(letter.isdigit() for letter in token) else 1
            total += code * weight * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(words) / mean))
        if any(token in words for token in idf):
            found[row] = total / sum(idf.values())
    return found


@pytest.mark.parametrize("text", ["DM-1942", "dm 1942", "red", "RED SHOE nothing", "new balance", "groesser", "?"])
def test_matches_are_bm25(text: str) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)] + ["red", "shoe"]
    many = [
        {"id": str(i), "text": " ".join(rng.choice(words, 6)), "sku": f"DM-{i + 1900}", "brand": "Größer"}
        for i in range(200)
    ]
    for products in (SHOP, many):
        rows, values = WordIndex.of(products, FIELDS.words).match(text)
        expected = bm25(products, ("text", "sku", "brand"), text)
        assert rows.tolist() == sorted(expected)
        assert values.tolist() == pytest.approx([expected[row] for row in sorted(expected)])


def test_an_index_without_words_matches_nothing() -> None:
    for products in ([], [{"id": "a", "text": "?!"}]):
        rows, values = WordIndex.of(products, ("text",)).match("red")
        assert len(rows) == len(values) == 0


def matches(catalogue: Catalogue, text: str) -> list[str]:
    assert catalogue.words is not None
    rows, values = catalogue.words.match(text)
    return [catalogue.ids[row] for row in rows[np.argsort(-values, kind="stable")]]


def test_the_index_is_kept_and_follows_every_edit(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    index(engine, SHOP, folder, fields=FIELDS)
    loaded = Catalogue.load(folder, verify=True)
    assert loaded.contents.word_columns == ["text", "sku", "brand"]
    assert matches(loaded, "dm-1942") == ["a", "c", "b"] and matches(loaded, "New Balance") == ["a"]
    new: Product = {"id": "e", "text": "red", "sku": "DM-7"}
    added = change(folder, lambda catalogue: catalogue.add(engine, [new]))
    assert matches(added, "DM-7")[0] == "e" and matches(Catalogue.load(folder), "DM-7")[0] == "e"
    change(folder, lambda catalogue: catalogue.update(engine, [{"id": "a", "sku": "XY-1"}]))
    assert matches(Catalogue.load(folder, verify=True), "DM-1942") == ["c", "e", "b"]
    change(folder, lambda catalogue: catalogue.remove(["c"]))
    assert matches(Catalogue.load(folder, verify=True), "xy 1") == ["a"]
    assert not find_problems(folder)
    assert len(list(folder.glob("words-*"))) == 5  # of one generation
    assert change(folder, lambda catalogue: catalogue).words is not None


@pytest.fixture(scope="module")
def word_engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1)


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, list[Product]]]:
    """Additions, updates and removals of products `0` to `11`."""
    values = st.sampled_from(["red shoe", "red red", "DM-42", "", 1, 1.0, True, 0, ["a", "red"], None])
    product = st.fixed_dictionaries({"text": st.sampled_from(["red", "blue shoe"])}, optional={"sku": values})
    steps: list[tuple[str, list[Product]]] = []
    for _ in range(draw(st.integers(1, 4))):
        ids = draw(st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True))
        kind = draw(st.sampled_from(["add", "update", "remove"]))
        steps.append((kind, [{"id": str(id_), **draw(product)} for id_ in ids]))
    return steps


@settings(max_examples=60, deadline=None)
@given(steps=edits())
def test_the_index_after_edits_is_that_of_the_products(
    word_engine: Engine, steps: list[tuple[str, list[Product]]]
) -> None:
    fields = ProductFields(words=("text", "sku"), columns={"sku": "mixed"})
    catalogue = Catalogue.build(
        word_engine, [{"id": str(row), "text": f"t{row}", "sku": row} for row in range(5)], fields=fields
    )
    for kind, products in steps:
        if kind == "remove":
            catalogue = catalogue.remove([product["id"] for product in products], on_error=lambda _: None)
        else:
            edit = catalogue.add if kind == "add" else catalogue.update
            catalogue = edit(word_engine, products, on_error=lambda _: None)
        assert catalogue.words is not None
        expected = WordIndex.of(catalogue.contents.products, ("text", "sku"))
        assert catalogue.words.equals(expected)
        for name, array in vars(expected).items():
            assert getattr(catalogue.words, name).dtype == array.dtype


def test_an_update_of_other_columns_leaves_the_index_as_it_is(engine: Engine) -> None:
    catalogue = Catalogue.build(engine, SHOP, fields=FIELDS)
    assert catalogue.update(engine, [{"id": "a", "price": 5}]).words is catalogue.words
    changed = catalogue.update(engine, [{"id": "a", "sku": "DM-7"}])
    assert matches(changed, "7") == ["a"] and matches(catalogue, "7") == []
    assert matches(changed, "1942") == ["c"] and matches(catalogue, "1942") == ["c", "a"]


def test_without_words_there_is_no_index(engine: Engine, tmp_path: Path) -> None:
    catalogue = index(engine, SHOP, tmp_path / "shop")
    assert catalogue.words is None and not list((tmp_path / "shop").glob("words-*"))


def test_the_columns_of_words_are_those_of_the_catalogue(engine: Engine, tmp_path: Path) -> None:
    folder, notes = tmp_path / "shop", list[str]()
    catalogue = index(engine, SHOP, folder, fields=FIELDS)
    added = catalogue.add(engine, [{"id": "e", "text": "red", "sku": "DM-7"}], fields=FIELDS)
    assert matches(added, "DM-7")[0] == "e"
    for edit in (catalogue.add, catalogue.update):
        with pytest.raises(InputError, match=r"words: expected .* text, sku, brand, .*, found tags"):
            edit(engine, [{"id": "f", "text": "red"}], fields=ProductFields(words=("tags",)))
    assert index(engine, SHOP, folder, on_warning=notes.append).words is None
    assert notes == ["words: the catalogue had an index of the words of text, sku, brand; --words makes it again"]


def test_a_column_of_words_must_be_there(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("ID,Title,SKU\n1,red,DM-1\n")
    fields = ProductFields(text="title", words=("Title", "sku"))
    assert matches(Catalogue.build(engine, path, fields=fields), "red dm-1") == ["1"]
    with pytest.raises(InputError, match="expected a column named brand, found ID, Title, SKU"):
        Catalogue.build(engine, path, fields=ProductFields(text="title", words=("brand",)))
    with pytest.raises(InputError, match="words: expected names of columns, found 'sku'"):
        ProductFields(words="sku")


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("rows", lambda rows: rows + 4, "rows outside of 4 products"),
        ("keys", lambda keys: keys[::-1], "tokens that are not sorted"),
        ("starts", lambda starts: starts[::-1], "starts that are not sorted"),
        ("counts", lambda counts: counts[1:], "arrays of other lengths"),
        ("lengths", lambda lengths: lengths - 99, "negative lengths"),
    ],
)
def test_a_forged_index_is_refused(engine: Engine, tmp_path: Path, name: str, values: Any, problem: str) -> None:
    catalogue = Catalogue.build(engine, SHOP, fields=FIELDS)
    words = WordIndex.of(SHOP, FIELDS.words)
    forged = WordIndex(**{**vars(words), name: values(getattr(words, name))})
    vars(catalogue.contents)["words"] = forged
    catalogue.save(tmp_path / "shop")
    with pytest.raises(CatalogueError, match=problem):
        _ = Catalogue.load(tmp_path / "shop").words
    assert any(problem in line for line in find_problems(tmp_path / "shop"))


def test_the_manifest_names_the_columns(engine: Engine, tmp_path: Path) -> None:
    Catalogue.build(engine, SHOP, fields=FIELDS).save(tmp_path / "shop")
    manifest = json.loads((tmp_path / "shop/manifest.json").read_text())
    assert manifest["word_columns"] == ["text", "sku", "brand"]
