from __future__ import annotations

import csv

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.bundled import shelf_path
from clipshelf.catalogue.language import language_note
from clipshelf.types import Product

GERMAN = ["Ein stilvolles Paar Laufschuhe mit guter Dämpfung", "Bequemes Baumwoll-T-Shirt für den Alltag"]
RUSSIAN = ["Стильная пара кроссовок для бега", "Удобная хлопковая футболка на каждый день"]  # noqa: RUF001


@pytest.mark.parametrize(("texts", "tokens"), [(GERMAN, "2."), (RUSSIAN, "5.")])
def test_a_language_that_the_model_does_not_know_is_told(default_engine: Engine, texts: list[str], tokens: str) -> None:
    note = language_note(default_engine, texts * 10)
    assert note is not None and f"the texts take {tokens}" in note


def test_nothing_is_told_of_english_or_of_few_words(default_engine: Engine) -> None:
    with (shelf_path() / "products.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert language_note(default_engine, texts) is None
    assert language_note(default_engine, ["Sony WH-1000XM5 wireless headphones, black, DM-1942, size 42"] * 9) is None
    assert language_note(default_engine, GERMAN) is None
    marked = "<p>A&nbsp;warm&nbsp;winter&nbsp;jacket&nbsp;for&nbsp;children &ndash; the children&rsquo;s favourite</p>"
    assert language_note(default_engine, [marked] * 9) is None
    assert language_note(default_engine, []) is None


def test_building_a_catalogue_tells_it(default_engine: Engine) -> None:
    notes: list[str] = []
    products: list[Product] = [{"id": str(i), "text": text} for i, text in enumerate(GERMAN * 4)]
    Catalogue.build(default_engine, products, on_warning=notes.append)
    assert len([note for note in notes if "tokens a word" in note]) == 1
