"""Keyboard, screen readers, phones, dark mode, reduced motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.web_page import Open, chips, colour_file, ids, settle, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

STATES = ("start", "answer", "nothing", "code", "crop", "panel")
WINDOWS: dict[str, dict[str, Any]] = {
    "desktop": {},
    "phone": {"width": 375, "height": 812, "has_touch": True, "is_mobile": True},
}


def bring_to(page: Page, state: str) -> None:
    if state == "answer":
        page.locator(".why summary").first.click()
    elif state == "code":
        page.click("#code")
        page.click("#tab-cpp")
    elif state == "crop":
        page.set_input_files("#file", colour_file("red"))
        page.click("#crop")
    elif state == "panel":
        page.locator("#panel").evaluate("panel => { panel.open = true; }")


def address(state: str) -> str:
    if state == "start":
        return "/"
    where = "&max.price=1" if state == "nothing" else "&is.category=shoe&weight.text=0.5"
    return f"/#q=red+shoe&liked=wool/blue-watch&disliked=cotton/green-shirt{where}"


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_no_violation(open_page: Open, state: str, window: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = open_page(address(state), **WINDOWS[window], reduced_motion="reduce", faulty=True)
    bring_to(page, state)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        results = axe.Axe().run(page)
        assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("state", STATES)
def test_no_window_scrolls_sideways(open_page: Open, state: str) -> None:
    page = open_page(address(state), width=320, height=812)
    bring_to(page, state)
    for width in (320, 375, 700, 901):
        page.set_viewport_size({"width": width, "height": 812})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert outside(page) == []


def outside(page: Page) -> list[str]:
    """The elements that reach out of the window, but for those that only screen readers see."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter((element) => {
            const box = element.getBoundingClientRect();
            const unseen = element.closest(".unseen, [hidden], .skip, .sprite, .toast, .shelf .similar span");
            const leaves = box.right > innerWidth + 1 || box.left < -1;
            return box.width > 0 && !unseen && leaves && element.checkVisibility();
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    return found


def test_touch_targets_are_large_enough(open_page: Open) -> None:
    page = open_page("/#q=red&liked=wool/blue-watch", **WINDOWS["phone"])
    page.locator("#panel").evaluate("panel => { panel.open = true; }")
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, input, summary, label")].filter((element) => {
            const box = element.getBoundingClientRect();
            const within = element.matches("label input, .slider label"); // the label or the slider is the target
            return box.width > 0 && !within && !element.matches(".unseen") && (box.width < 24 || box.height < 24);
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert small == []


def test_the_whole_way_goes_by_keyboard(open_page: Open) -> None:
    page = open_page()
    focus = "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate(focus) == "results" and page.evaluate("location.hash") == ""
    page.focus("#words")
    page.keyboard.type("red shoe")
    page.keyboard.press("Enter")
    settle(page)
    assert page.inner_text("#status").startswith("12 of 27 products.") and page.evaluate(focus) == "words"
    page.focus(".product .like")
    first = ids(page)[0]
    page.keyboard.press("Space")
    settle(page)
    assert len(chips(page)) == 1 and first not in ids(page)
    # The card has gone; the focus is on the same button of the one that took its place.
    assert page.evaluate("document.activeElement.className") == "like"
    assert page.evaluate("document.activeElement.closest('.product').dataset.id") == ids(page)[0]
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "similar"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator(".why[open]").count() == 1 and page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.focus("#chips button")
    page.keyboard.press("Enter")
    settle(page)
    assert not chips(page) and page.evaluate(focus) == "results"
    page.focus("#code")
    page.keyboard.press("Enter")
    page.focus("#tab-curl")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focus) == "tab-python" and "urllib" in (page.text_content("#code-text") or "")
    page.keyboard.press("Escape")
    assert page.evaluate(focus) == "code"


def test_a_part_of_the_picture_is_chosen_by_keyboard(open_page: Open) -> None:
    page = open_page()
    page.set_input_files("#file", colour_file("red"))
    page.wait_for_selector("#crop:visible")
    page.click("#crop")
    edge = page.locator("[role=slider]:focus")
    assert edge.get_attribute("aria-label") == "Left edge" and edge.get_attribute("aria-valuenow") == "10"
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert edge.get_attribute("aria-valuenow") == "32"
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert page.locator("[role=slider]:focus").get_attribute("aria-valuenow") == "0"
    page.click("#crop-use")
    settle(page)
    # The picture has 20 x 12 pixels; from 32 to 90 percent across, from 0 to 90 down.
    size = "[document.querySelector('#photo-shown').naturalWidth, document.querySelector('#photo-shown').naturalHeight]"
    assert page.evaluate(f"document.querySelector('#photo-shown').decode().then(() => {size})") == [12, 11]
    page.click("#crop")
    assert page.locator("[role=slider]:focus").get_attribute("aria-valuenow") == "32"
    page.click("#crop-whole")
    settle(page)
    assert page.evaluate(f"document.querySelector('#photo-shown').decode().then(() => {size})") == [20, 12]


def test_a_part_of_the_picture_is_chosen_by_pointer(open_page: Open) -> None:
    page = open_page()
    page.set_input_files("#file", colour_file("red"))
    page.wait_for_selector("#crop:visible")
    page.click("#crop")
    page.wait_for_timeout(100)
    corner, picture = page.locator(".corner[data-edge='left top']"), page.locator("#crop-picture").bounding_box()
    assert picture is not None
    corner.hover()
    page.mouse.down()
    page.mouse.move(picture["x"] + picture["width"] / 2, picture["y"] + picture["height"] / 2, steps=3)
    page.mouse.up()
    values = page.locator("[role=slider]").evaluate_all("edges => edges.map((edge) => Number(edge.ariaValueNow))")
    assert values == pytest.approx([50, 50, 90, 90], abs=12)
    assert values[0] > 30 and values[1] > 30


def test_what_happens_is_said_to_screen_readers(open_page: Open) -> None:
    page = open_page("/#q=red+shoe")
    assert page.get_attribute("#status", "role") == "status"
    wait_for_text(page, "#status", "12 of 27 products.")
    assert "First: a red shoe" in (page.text_content("#status") or "")
    labels = page.locator(".product").first.locator("button").evaluate_all("all => all.map((one) => one.ariaLabel)")
    text = page.locator(".product .text").first.inner_text()
    assert labels == [f"Like: {text}", f"Dislike: {text}", f"More like this: {text}"]
    page.locator(".like").first.click()
    settle(page)
    assert page.locator("#chips button").first.get_attribute("aria-label") == f"Remove: liked {text}"
    assert page.get_by_role("slider", name="Words").count() == 1
    assert page.get_by_role("search").get_by_label("What you look for, in words").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system(open_page: Open, scheme: Any) -> None:
    page = open_page("/#q=red", color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background[4:-1].split(",")) / 3
    assert (brightness < 60) == (scheme == "dark")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_cards_glide_unless_motion_is_reduced(open_page: Open, motion: Any) -> None:
    page = open_page("/#q=shoe", reduced_motion=motion)
    page.evaluate(
        """() => {
            window.glided = 0;
            const animate = Element.prototype.animate;
            Element.prototype.animate = function (...given) { window.glided += 1; return animate.apply(this, given); };
        }"""
    )
    page.locator(".like").first.click()
    settle(page)
    assert (page.evaluate("window.glided") > 0) == (motion == "no-preference")
