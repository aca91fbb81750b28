"""Words as one more part of a score, against a full search in float64."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.contents import MemoryContents, contents_of_rows
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.types import DoubleArray, Product
from support import oracle
from support.sample_query import DIM
from support.shelves import clustered

COUNT = 1500
COLUMNS = ("text", "sku")


@pytest.fixture(scope="module")
def shop(wide_engine: Engine) -> Recommender:
    rng = np.random.default_rng(1)
    words = ["red", "shoe", "warm", *(f"w{i}" for i in range(300))]
    products: list[Product] = [
        {"id": str(i), "text": " ".join(rng.choice(words, 5)), "sku": f"DM-{i}", "price": i % 9} for i in range(COUNT)
    ]
    matrix = clustered(COUNT, DIM)
    contents = MemoryContents(products, matrix, contents_of_rows(matrix).keys, {}, COLUMNS)
    return Recommender(wide_engine, Catalogue(contents, wide_engine.fingerprint, wide_engine.artifact.path))


def match(shop: Recommender, texts: list[str]) -> DoubleArray:
    total = np.zeros(COUNT)
    for text in texts:
        rows, values = WordIndex.of(shop.catalogue.products, COLUMNS).match(text)
        total[rows] += values / len(texts)
    return total


def test_a_code_finds_its_product(shop: Recommender) -> None:
    for code in ("DM-1042", "dm 1042", "DM1042", "dm-7"):
        first = shop.recommend(code, k=1)[0]
        assert first.product["sku"].replace("-", "").lower() == code.replace("-", "").replace(" ", "").lower()
    assert shop.recommend("DM-1042", k=1, weights={"words": 0})[0].id != "1042"


@pytest.mark.parametrize("texts", [["red shoe DM-77"], ["warm", "w7 w8"]])
@pytest.mark.parametrize("weight", [0.1, 3.0, 50.0])
def test_the_best_are_those_of_a_full_search(shop: Recommender, texts: list[str], weight: float) -> None:
    answer = shop.recommend(texts, liked=["3"], k=30, boost={"price": 0.5}, weights={"words": weight})
    cosines = oracle.cosine_scores(shop, texts, {"3": 1.0})
    words = weight * match(shop, texts)
    prices = np.array([product["price"] for product in shop.catalogue.products])
    below = np.array([(prices < price).sum() + (prices == price).sum() / 2 for price in prices])
    scores = cosines + words + 0.5 * (2 * below / COUNT - 1)
    scores[3] = -np.inf
    order = np.lexsort((np.arange(COUNT), -scores))[:30]
    assert [int(item.id) for item in answer] == order.tolist()
    assert [item.score for item in answer] == pytest.approx(scores[order].tolist(), rel=1e-6, abs=1e-6)
    for item in answer:
        parts = {part.signal: part.value for part in item.contributions if part.side is None}
        assert parts["words"] == pytest.approx(words[int(item.id)])
        assert sum(part.value for part in item.contributions) == pytest.approx(item.score)
        row = int(item.id)
        expected = oracle.relevance(cosines, cosines[row] + words[row], COUNT - 1)
        # Levels are those of a sample of 1024 products.
        assert item.relevance == pytest.approx(expected, abs=0.2)


def test_queries_of_a_batch_have_their_own_words(shop: Recommender) -> None:
    texts = [f"DM-{row}" for row in (5, 77, 1042)] * 4
    answers = shop.recommend_batch([{"text": text, "k": 1} for text in texts])
    assert [answer[0].product["sku"] for answer in answers] == texts


def test_pictures_and_likes_have_no_words(shop: Recommender) -> None:
    assert "words" not in {part.signal for part in shop.recommend(liked=["3"], k=1)[0].contributions}


def test_a_copy_finds_the_same(shop: Recommender) -> None:
    copy = pickle.loads(pickle.dumps(shop.catalogue))
    assert copy.contents.word_columns == COLUMNS
    assert Recommender(shop.engine, copy).recommend("DM-1042", k=1)[0].id == "1042"
