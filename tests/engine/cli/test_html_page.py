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
            {"id": "bare", "text": "green", "price": "ask", "category": "<b>"},
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


def test_a_product_may_lack_a_picture_a_text_and_any_fact(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    page = _answer_page(engine, shelf, Query(text="red", disliked=[("liked", 2.5)]), tmp_path)
    cards = re.findall(r'<li class="product">(.*?)</li>', page, re.DOTALL)
    by_text = {re.findall(r'<p class="text" title="(.*?)">', card)[0]: card for card in cards}
    assert set(by_text) == {"red &quot;shoe&quot; &amp; more", "green", "shown"}
    assert "<img" in by_text["shown"] and '<span class="price"></span>' in by_text["shown"]
    assert '<div class="blank">' in by_text["green"] and ">ask</span>" in by_text["green"]
    assert ">&lt;b&gt;</span>" in by_text["green"]
    assert ">1,234.50</span>" in by_text["red &quot;shoe&quot; &amp; more"]
    assert '<div class="blank"></div><span><b>disliked</b> liked &times; 2.5</span>' in page
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
    assert "<img" not in page and page.count('<div class="blank">') == 4


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


def _item(product: Product, score: float, *parts: float) -> Recommendation:
    made = tuple(Contribution("liked", f"p{i}", "image", value) for i, value in enumerate(parts))
    return made_up(product, score, 0.5, *made)


def test_bars_share_one_scale_and_small_parts_are_summed(shelf: Catalogue, tmp_path: Path) -> None:
    first = _item({"id": "a", "text": "a"}, 2.0, 0.1, -0.5, 1.0, 0.2, 0.3, 0.4, 0.25, 0.25)
    second = _item({"id": "b", "text": "b"}, -0.5, -0.5)
    page = _page(Section("", Query(text="x"), Recommendations((first, second), {"total": 1.0}), shelf), tmp_path)
    one, two = re.findall(r'<li class="product">(.*?)</li>', page, re.DOTALL)
    reasons = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", one)
    assert [name for name, _ in reasons] == [f"liked p{i} / image" for i in (2, 1, 5, 4, 6, 7)] + ["2 smaller"]
    assert [value for _, value in reasons] == ["+1.00", "&minus;0.50", "+0.40", "+0.30", "+0.25", "+0.25", "+0.30"]
    widths = [re.findall(r'<i( class="minus")? style="width:(\d+)%">', card) for card in (one, two)]
    assert widths[0][:3] == [("", "100"), ("", "100"), (' class="minus"', "50")]
    assert widths[1] == [(' class="minus"', "25"), (' class="minus"', "50")]
    assert "score 2.00" in one and "score &minus;0.50" in two and "fits 50%" in one


def test_an_answer_without_products_says_so(engine: Engine, shelf: Catalogue, tmp_path: Path) -> None:
    page = _answer_page(engine, shelf, Query(text="red", where="category=hats"), tmp_path)
    assert "No product is left to answer with." in page and '<ol class="shelf">' not in page
