from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from clipshelf import Catalogue, Contribution, Engine, Query, Recommendation, Recommendations, Recommender, Weights
from clipshelf.cli.html_page import Section, write_page
from clipshelf.types import Product
from PIL import Image
from support import tiny
from support.pictures import encode
from support.shelves import made_up


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> Catalogue:
    Image.fromarray(tiny.picture("red")).save(tmp_path / "red.png")
    return Catalogue.build(
        engine,
        [
            {"id": "<i>", "text": 'red "shoe" & more', "image": str(tmp_path / "red.png"), "price": 1234.5},
            {"id": "bare", "text": "green", "price": ["ask", {"a": 1}, True], "category": "<b>"},
            {"id": "shown", "image": str(tmp_path / "red.png")},
            {"id": "liked", "text": "blue"},
        ],
    )


def _page(section: Section, folder: Path) -> str:
    write_page(folder / "page.html", "A <title>", "from & to", [section])
    return (folder / "page.html").read_text(encoding="utf-8")


def _answer_page(engine: Engine, shelf: Catalogue, query: Query, folder: Path) -> str:
    return _page(Section("What <fits>", query, Recommender(engine, shelf).answer(query), shelf), folder)


def test_everything_that_people_wrote_is_escaped(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    query = Query(text=" red <script> ", liked=["<i>"], exclude=["bare"], where="category!='x<y'", weights={"text": 2})
    page = _answer_page(engine, shelf, query, tmp_path)
    assert "<h1>A &lt;title&gt;</h1>" in page and "<h2>What &lt;fits&gt;</h2>" in page and "from &amp; to" in page
    assert "<blockquote>“red &lt;script&gt;”</blockquote>" in page
    assert "<b>liked</b> &lt;i&gt;<" in page and "<code>without bare</code>" in page
    assert "<code>where category!=&#x27;x&lt;y&#x27;</code>" in page and "<code>weight of text 2</code>" in page
    assert not re.search(r"<script|<i>\w|<b><", page)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_a_product_may_lack_a_picture_a_text_and_any_fact(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    page = _answer_page(engine, shelf, Query(text="red", disliked=[("liked", 2.5)]), tmp_path)
    cards = re.findall(r'<li class="product">(.*?)</li>', page, re.DOTALL)
    by_text = {re.findall(r'<h3 class="text">(.*?)</h3>', card)[0]: card for card in cards}
    assert set(by_text) == {'red "shoe" &amp; more', "green", "shown"}
    assert "<img" in by_text["shown"] and '<span class="price"></span>' in by_text["shown"]
    assert '<span class="blank">no picture</span>' in by_text["green"] and ">ask, true</span>" in by_text["green"]
    assert ">&lt;b&gt;</span>" in by_text["green"]
    assert ">1,234.50</span>" in by_text['red "shoe" &amp; more']
    assert '<span class="none"></span><span><b>disliked</b> liked &times; 2.5</span>' in page
    assert "among 4 products" in page


def test_metadata_of_pictures_stays_out_of_the_page(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    options = {"comment": b"a secret comment", "exif": exif, "icc_profile": b"a secret profile"}
    photo = encode(Image.fromarray(tiny.picture("red")), "JPEG", **options)
    assert photo.count(b"secret") == 3
    page = _answer_page(engine, shelf, Query(image=photo), tmp_path)
    pictures = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", page)]
    assert len(pictures) == 3 and not any(b"secret" in picture for picture in pictures)


def test_a_picture_that_is_gone_is_left_blank(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "red.png").unlink()
    page = _answer_page(engine, shelf, Query(text="red"), tmp_path)
    assert "<img" not in page and page.count('<span class="blank">') == 4


def test_the_settings_of_a_query_are_shown(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    history = [("bare", "added to basket", 0.0), ("bare", "added to basket", 1.0), ("<i>", "bought", 0.0)]
    query = Query(history=history, exclude_bought=True, diversity=0.25, where={"category": "<b>"}, now=2.0)
    page = _answer_page(engine, shelf, query, tmp_path)
    settings = re.findall(r"<code>(.*?)</code>", page)
    assert settings == [
        "where {&quot;category&quot;: &quot;&lt;b&gt;&quot;}",
        "without what was bought",
        "diversity 0.25",
    ]
    assert re.findall(r"<b>([a-z ]+)</b> (.*?)</span>", page)[:2] == [
        ("bought", "&lt;i&gt;"),
        ("added to basket", "bare"),
    ]
    assert page.count("<b>added to basket</b>") == 1
    query = Query(history=[("bare", "rated", 0.0, 1)], weights=Weights(text_image=0.0, liked=0.25), now=2.0)
    page = _answer_page(engine, shelf, query, tmp_path)
    assert "<b>rated 1 of 5</b> bare" in page
    assert re.findall(r"<code>(.*?)</code>", page) == ["weight of liked 0.25", "weight of text_image 0"]


_MINUS = "\N{MINUS SIGN}"


def _item(product: Product, score: float, *parts: tuple[str, str | None, float]) -> Recommendation:
    made = tuple(Contribution("liked", id_, side, value) for id_, side, value in parts)
    return made_up(product, score, 0.5, *made)


def _cards(shelf: Catalogue, folder: Path, *items: Recommendation) -> list[str]:
    page = _page(Section("", Query(liked=["bare"]), Recommendations(items, {"total": 1.0}), shelf), folder)
    return re.findall(r'<li class="product">(.*?)</li>', page, re.DOTALL)


def _reasons(card: str) -> list[tuple[str, str]]:
    return re.findall(r"<dt.*?>(.*?)</dt><dd.*?>(.*?)</dd>", card)


def test_bars_share_one_scale_and_each_begins_where_the_one_before_ended(shelf: Catalogue, tmp_path: Path) -> None:
    first = _item({"id": "a"}, 1.5, ("bare", "image", 0.5), ("bare", "text", 1.5), ("x", "image", -0.5))
    second = _item({"id": "b"}, -0.5, ("bare", "image", -0.5))
    one, two = _cards(shelf, tmp_path, first, second)
    assert _reasons(one) == [("liked green", "+2.00"), ("liked x", f"{_MINUS}0.50"), ("score", "1.50")]
    assert '<dd class="sides">its picture +0.50, its text +1.50</dd>' in one and one.count("sides") == 1
    bars = [re.findall(r'<i(?: class="(.*?)")? style="left:(.*?)%;width:(.*?)%">', card) for card in (one, two)]
    # The running sums of both reach from -0.5 to 2.
    assert bars[0] == [("", "20.0", "80.0"), ("minus", "80.0", "20.0"), ("whole", "20.0", "60.0")]
    assert bars[1] == [("minus", "0.0", "20.0"), ("whole", "0.0", "20.0")]
    assert _reasons(two) == [("liked green", f"{_MINUS}0.50"), ("score", f"{_MINUS}0.50")] and "fits 50%" in one


def test_small_reasons_are_summed_and_rounded_ones_sum_to_the_score(shelf: Catalogue, tmp_path: Path) -> None:
    values = (0.104, -0.504, 1.004, 0.204, 0.304, 0.404, 0.254)
    parts = [(f"p{i}", "image", value) for i, value in enumerate(values)]
    (card,) = _cards(shelf, tmp_path, _item({"id": "a"}, sum(values), *parts))
    # Each of the seven loses 0.004 by rounding, so the score has three hundredths more than their sum.
    reasons = _reasons(card)
    assert [name for name, _ in reasons] == [f"liked p{i}" for i in (2, 1, 5, 4, 6)] + ["2 smaller ones", "score"]
    numbers = [round(100 * float(value.replace(_MINUS, "-"))) for _, value in reasons]
    assert sum(numbers[:-1]) == numbers[-1] == 177
    assert all(abs(number / 100 - value) < 0.01 for number, value in zip(numbers, (1.004, -0.504), strict=False))


def test_no_relevance_below_one_is_rounded_to_it(shelf: Catalogue, tmp_path: Path) -> None:
    part = Contribution("text", None, "text", 1.0)
    items = [made_up({"id": str(value)}, 1.0, value, part) for value in (0.999, 1.0, 0.125)]
    page = _page(Section("", Query(text="x"), Recommendations(tuple(items), {"total": 1.0}), shelf), tmp_path)
    assert re.findall(r'class="fits">(.*?)<', page) == ["fits 99%", "fits 100%", "fits 13%"]


def test_an_answer_without_products_says_so(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    page = _answer_page(engine, shelf, Query(text="red", where="category=hats"), tmp_path)
    assert "No product is left to answer with." in page and '<ol class="shelf">' not in page


def test_signals_are_named_in_words(shelf: Catalogue, tmp_path: Path) -> None:
    names = {"text 2": "words 2", "image": "picture", "words": "matching words", "added_to_basket": "added to basket"}
    parts = [Contribution(signal, None, None, 0.25) for signal in names]
    item = made_up({"id": "a"}, 1.0, 0.5, *parts)
    page = _page(Section("", Query(text="x"), Recommendations((item,), {"total": 1.0}), shelf), tmp_path)
    assert [name for name, _ in _reasons(page)] == [*names.values(), "score"]
