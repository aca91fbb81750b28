"""The cards: reasons that sum to the score, honest relevance, filters and weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from clipshelf import Catalogue, Query
from clipshelf.cli.html_page import Section, write_page
from support.service import RunningService
from support.web_page import Open, colour_file, ids, settle, wait_for_text

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

MINUS = "\N{MINUS SIGN}"


def answer(service: RunningService, **query: Any) -> Any:
    return service.client.post("/v1/recommend", json={"k": 12, "explain": True, **query}).json()["recommendations"]


def reasons(page: Page, card: int) -> list[tuple[str, int]]:
    """The bars of a card: what each says, in hundredths."""
    list_ = page.locator("#cards .product").nth(card).locator(".parts")
    names, values = list_.locator("dt").all_text_contents(), list_.locator("dt + dd").all_text_contents()
    return [(name, round(100 * float(value.replace(MINUS, "-")))) for name, value in zip(names, values, strict=True)]


def test_the_reasons_of_every_card_sum_to_its_score(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=warm+red+shoe&liked=wool/blue-watch&disliked=cotton/green-shirt&diversity=0.5")
    query = {
        "text": "warm red shoe",
        "liked": ["wool/blue-watch"],
        "disliked": ["cotton/green-shirt"],
        "diversity": 0.5,
    }
    items = answer(service, **query)
    assert ids(page) == [item["id"] for item in items]
    for card, item in enumerate(items):
        *parts, (last, score) = reasons(page, card)
        assert last == "score" and score == round(100 * item["score"]) == sum(value for _, value in parts)
        sums: dict[str, float] = {}
        for part in item["contributions"]:
            sums[part["signal"]] = sums.get(part["signal"], 0.0) + part["value"]
        for name, value in parts:
            assert abs(value / 100 - sums[{"words": "text"}.get(name.split()[0], name.split()[0])]) < 0.02
    page.locator(".why summary").first.click()
    bars = (
        page.locator("#cards .product")
        .first.locator(".bar i")
        .evaluate_all(
            "bars => bars.map((bar) => [parseFloat(bar.style.left), parseFloat(bar.style.width), bar.className])"
        )
    )
    ends = [left if kind == "minus" else left + width for left, width, kind in bars[:-1]]
    starts = [left + width if kind == "minus" else left for left, width, kind in bars[:-1]]
    assert starts[1:] == pytest.approx(ends[:-1], abs=0.01)
    assert bars[-1][0] + bars[-1][1] == pytest.approx(ends[-1], abs=0.01)


def test_the_report_of_the_command_line_has_the_same_cards(
    open_page: Open, browser: Browser, service: RunningService, tmp_path: Path
) -> None:
    query = {"text": "warm red shoe", "liked": ["wool/blue-watch"], "disliked": ["cotton/green-shirt"], "k": 12}
    keeper = service.service.keeper
    answer = keeper.current.recommender.answer(Query.from_dict(query))
    section = Section("", Query.from_dict(query), answer, Catalogue.load(keeper.folder, allow_outside=True))
    write_page(tmp_path / "report.html", "report", "", [section])
    page = open_page("/#q=warm+red+shoe&liked=wool/blue-watch&disliked=cotton/green-shirt")
    shown = _texts(page)
    with browser.new_page() as report:
        report.goto((tmp_path / "report.html").as_uri())
        assert _texts(report) == shown and len(shown) == 12
        assert report.locator(".product img").count() == 12 - report.locator(".product .blank").count() > 9


def _texts(page: Page) -> list[str]:
    """What the cards say, without their buttons and the marks of pictures."""
    texts: list[str] = page.eval_on_selector_all(
        ".product",
        """cards => cards.map((card) => {
            const parts = ["h3", ".kind", ".price", ".fits", ".score", ".parts"];
            return parts.map((part) => card.querySelector(part).textContent).join(" | ");
        })""",
    )
    return texts


def test_relevance_is_shown_honestly(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=red+shoe")
    items = answer(service, text="red shoe")
    fitting = sum(item["relevance"] >= 0.9 for item in items)
    strong = page.locator(".product:not(.weak)").count()
    assert strong == fitting and page.locator(".part").count() == (0 < fitting < len(items))
    assert page.is_visible(".notice.weak") == (fitting == 0)
    shown = page.locator(".fits").all_text_contents()
    assert [int(re.findall(r"\d+", text)[0]) for text in shown] == [
        min(99, int(100 * item["relevance"] + 0.5)) if item["relevance"] < 1 else 100 for item in items
    ]


def test_nothing_fits_well_is_said(open_page: Open) -> None:
    page = open_page("/#disliked=cotton/red-shoe")
    assert "Dislikes alone say what to avoid" in page.inner_text(".notice.weak")
    page.goto(page.url.split("#")[0] + "#q=unknown")
    wait_for_text(page, ".notice.weak", "Nothing fits well. These are only the nearest of 27 products.")
    assert page.inner_text("#title") == "The nearest" and "Nothing fits well." in page.inner_text("#status")
    assert page.locator(".product:not(.weak)").count() == 0


def test_what_does_not_fit_can_be_left_out(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=unknown")
    page.check("#fitting")
    page.wait_for_url("**fitting=only**")
    settle(page)
    assert not ids(page) and page.inner_text("#title") == "No product is left"
    page.click(".nothing button")
    settle(page)
    assert len(ids(page)) == 12 and not page.is_checked("#fitting")
    fitting = [item["id"] for item in answer(service, text="red shoe") if item["relevance"] >= 0.9]
    assert ids(open_page("/#q=red+shoe&fitting=only")) == fitting


def test_times_of_the_stages_are_shown(open_page: Open) -> None:
    page = open_page()
    page.set_input_files("#file", colour_file("red"))
    wait_for_text(page, "#times", "round trip")
    assert re.fullmatch(r"12 of 27 · [\d.]+ ms( \(.*\))? · round trip [\d.]+ ms", page.inner_text("#times"))


def test_filters_are_made_of_the_columns(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=shoe&k=27")
    assert page.locator("legend").all_inner_texts() == ["Category", "Price", "Added", "In stock", "Tags"]
    page.locator(".option", has_text="shirt").click()
    page.locator(".option", has_text="watch").click()
    page.fill("[aria-label='Price to']", "200")
    page.fill("[aria-label='Added from']", "2026-01-03")
    page.locator(".option", has_text="yes").click()
    page.locator(".option", has_text="cotton").click()
    page.locator(".option", has_text="wool").click()
    where = {
        "price": {"<=": 200},
        "category": {"in": ["shirt", "watch"]},
        "added": {">=": "2026-01-03"},
        "in_stock": True,
        "or": [{"tags": {"contains": "cotton"}}, {"tags": {"contains": "wool"}}],
    }
    expected = answer(service, text="shoe", where=where, k=27)
    assert len(expected) == 3
    wait_for_text(page, "#times", f"{len(expected)} of 27")
    assert ids(page) == [item["id"] for item in expected]
    page.click("#filters-clear")
    wait_for_text(page, "#times", "27 of 27")
    assert page.locator(":checked").count() == 0 and page.input_value("[aria-label='Price to']") == ""


def test_filters_hold_before_there_is_a_query_too(open_page: Open) -> None:
    page = open_page("/#max.price=100&is.category=shoe&is.tags=sale&is.in_stock=true&min.added=2026-01-05&has.x=1")
    assert ids(page) == ["cotton/blue-shoe"]
    page = open_page("/#max.price=1")
    assert page.inner_text("#title") == "No product is left" and "No product passes the filter." in page.inner_text(
        "#cards"
    )
    page.click(".nothing button")
    settle(page)
    assert len(ids(page)) == 12


def test_an_empty_answer_says_which_filter_lets_nothing_through(open_page: Open) -> None:
    page = open_page("/#q=shoe&max.price=1&is.category=shoe")
    assert "of 27 products category in (shoe) lets 9 through, price<=1 lets 0 through." in page.inner_text(".nothing")


def test_a_slider_of_prices_sets_the_number(open_page: Open) -> None:
    page = open_page("/#q=shoe&k=27")
    slider = page.locator("[aria-label='Price from, slider']")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    number = float(page.input_value("[aria-label='Price from']"))
    assert 10 < number < 60 and slider.get_attribute("aria-valuetext") == f"{number:g}"
    page.wait_for_url(f"**min.price={number:g}**")
    settle(page)
    assert all(price >= number for price in map(float, page.locator(".price").all_inner_texts()))


def test_weights_and_variety_change_the_answer(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=red+shoe&liked=wool/blue-watch&k=27")
    before = ids(page)
    page.fill("#slider-words", "0")
    page.fill("#slider-variety", "0.5")
    page.wait_for_url("**weight.text=0&diversity=0.5**")
    settle(page)
    expected = answer(service, text="red shoe", liked=["wool/blue-watch"], weights={"text": 0}, diversity=0.5, k=27)
    assert ids(page) == [item["id"] for item in expected] != before
    page.click("#weights-reset")
    settle(page)
    assert ids(page) == before and page.input_value("#slider-words") == "1"


def test_more_products_are_shown_on_demand(open_page: Open) -> None:
    page = open_page("/#q=shoe")
    for expected in (24, 27):
        page.click("#more")
        wait_for_text(page, "#times", f"{expected} of 27")
        assert len(ids(page)) == expected
    assert page.is_hidden("#more") and page.evaluate("document.activeElement.id") == "results"
