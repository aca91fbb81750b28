from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf_bench.arrays import FloatArray
from clipshelf_bench.parts.labelled_catalogues import CachingEngine, LabelledCatalogue
from clipshelf_bench.parts.recommendation_quality import _auc

SENTENCES = {"red": ["red", "red shoe", "shoe red"], "blue": ["blue", "blue shoe", "shoe blue"]}


@pytest.fixture
def labelled(engine: Engine) -> LabelledCatalogue:
    products: list[dict[str, Any]] = [
        {"id": f"{colour}-{i}", "text": text} for colour, texts in SENTENCES.items() for i, text in enumerate(texts)
    ]
    categories = {product["id"]: product["id"].partition("-")[0] for product in products}
    other = {"id": "other", "text": "green"}
    return LabelledCatalogue("colours", Catalogue.build(engine, [*products, other]), categories | {"other": ""})


def test_products_without_a_category_are_no_queries(labelled: LabelledCatalogue) -> None:
    assert labelled.categories == ["blue", "red"]
    assert labelled.ids("red") == ["red-0", "red-1", "red-2"]
    assert "other" not in [product["id"] for product in labelled.products]


def test_an_item_is_embedded_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[str] = []
    embed_texts = Engine.embed_texts

    def spy(self: Engine, texts: Iterable[str]) -> FloatArray:
        items = list(texts)
        embedded.extend(items)
        return embed_texts(self, items)

    caching = CachingEngine(engine)
    monkeypatch.setattr(Engine, "embed_texts", spy)
    rows = caching.embed_texts(["red", "blue", "red"])
    assert np.array_equal(rows[0], rows[2])
    assert np.array_equal(caching.embed_texts(["blue"])[0], rows[1])
    assert embedded == ["red", "blue"]
    assert caching.embed_texts([]).shape == (0, engine.dim)


def test_auc_counts_pairs_and_half_of_the_ties() -> None:
    assert _auc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)
