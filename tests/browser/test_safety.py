"""A catalogue and an address whose texts are HTML and script: nothing of it runs, and nothing is asked of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clipshelf import Engine, index
from clipshelf.serve.settings import Settings
from support.service import RunningService, photo
from support.web_page import Open, ids, settle, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCRIPTS = (
    "<script>window.caught = 1</script>",
    '<img src="https://evil.example/x.png" onerror="window.caught = 1">',
    '"><svg onload="window.caught = 1">',
    "javascript:window.caught=1",
    "{{constructor.constructor('window.caught=1')()}}",
    "</template></li></ol><iframe src='https://evil.example'></iframe>",
    "' onmouseover='window.caught=1' style='position:fixed;inset:0",
    "\u202eevil\u202c \u0000\u001b]0;title\u0007",
)
COLUMNS = ("__proto__", "constructor", "<b onclick=alert(1)>", "has.a.dot", 'a "quoted" name', "and", "toString")


def hostile_products(folder: Path) -> list[dict[str, Any]]:
    """Products of which every text, id, value and column is hostile; their pictures are HTML, SVG and pictures."""
    (folder / "page.jpg").write_bytes(photo("red") + b"<script>window.caught = 1</script>")
    products: list[dict[str, Any]] = [
        {
            "id": f"{i}/../{script}?&#%2F",
            "text": f"red {script}",
            "category": script,
            "price": script,
            "cost": i,
            "image": str(folder / "page.jpg"),
            **dict.fromkeys(COLUMNS, script),
        }
        for i, script in enumerate(SCRIPTS)
    ]
    plain = {"text": "blue shoe", "category": "plain", **dict.fromkeys(COLUMNS, "plain")}
    return products + [{"id": f"plain {i}", **plain} for i in range(9)]


@pytest.fixture(scope="module")
def hostile(tiny_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("hostile")
    index(tiny_engine, hostile_products(folder), folder / "shelf")
    running = RunningService(tiny_engine, folder / "shelf", Settings()).start()
    yield running
    running.stop()


def assert_harmless(page: Page) -> None:
    """Nothing ran, and the page has no element that it does not make itself."""
    assert page.evaluate("window.caught") is None
    assert page.locator("iframe, script:not([src]), [onclick], [onerror], [onload], [onmouseover]").count() == 0
    assert page.locator("link, base, object, embed, style, meta[http-equiv]").count() == 2  # the icon and the style
    assert page.locator("[href^='javascript:'], [src^='javascript:']").count() == 0


def test_a_hostile_catalogue_is_shown_as_text(open_page: Open, hostile: RunningService) -> None:
    page = open_page("/#q=red&k=20", url=hostile.url)
    shown = set(page.locator(".text").all_text_contents())
    assert {f"red {script}".strip() for script in SCRIPTS[:-1]} <= shown
    assert page.locator(".product img").count() == len(SCRIPTS)
    for summary in page.locator(".why summary").all()[:3]:
        summary.click()
    assert_harmless(page)


def test_hostile_products_are_liked_filtered_and_copied(open_page: Open, hostile: RunningService) -> None:
    page = open_page("/#q=red&k=20", url=hostile.url)
    liked = ids(page)[:2]
    for id_ in liked:
        page.locator(".product").filter(has=page.locator(".like")).first.locator(".like").click()
        settle(page)
        assert id_ not in ids(page)
    assert page.locator("#chips img").count() == 2
    for code in ("curl", "python", "cpp"):
        page.click("#code") if code == "curl" else page.click(f"#tab-{code}")
        assert page.text_content("#code-text")
    page.click("#code-close")
    for box in page.locator(".option input").all()[:6]:
        box.check(force=True)
        settle(page)
    assert_harmless(page)
    page.reload()
    settle(page)
    assert_harmless(page)


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "and"])
def test_every_column_filters_whatever_its_name(open_page: Open, hostile: RunningService, column: str) -> None:
    page = open_page("/#q=red&k=20", url=hostile.url)
    title = column.replace("_", " ").replace(".", " ").strip()
    page.get_by_role("button", name="more filters").click()
    legend = page.locator("legend").get_by_text(title[0].upper() + title[1:], exact=True)
    legend.locator("xpath=..").locator(".option").filter(has_text="<script>").click()
    wait_for_text(page, "#times", "1 of 17")
    assert page.locator(".text").all_text_contents() == [f"red {SCRIPTS[0]}"]
    assert_harmless(page)


def test_a_hostile_address_is_a_query_like_any_other(open_page: Open, service: RunningService) -> None:
    attack = "%3Cimg%20src%3Dx%20onerror%3D%22window.caught%3D1%22%3E"
    page = open_page(
        f"/?x={attack}#q={attack}&liked={attack}&is.category={attack}&has.tags={attack}&{attack}", faulty=True
    )
    assert page.input_value("#words").startswith("<img") and page.locator("#words img").count() == 0
    wait_for_text(page, "#chips", "<img src=x")
    assert_harmless(page)


def test_no_script_may_make_html_or_code(open_page: Open) -> None:
    page = open_page(faulty=True)
    page.add_init_script("0")
    for attempt in ("document.body.innerHTML = '<b>'", "new DOMParser().parseFromString('<b>', 'text/html')"):
        message = page.evaluate(
            f"() => {{ try {{ {attempt}; return 'done'; }} catch (error) {{ return error.message; }} }}"
        )
        assert "TrustedHTML" in message
    message = page.evaluate("() => { try { setTimeout('0'); return 'done'; } catch (error) { return error.message; } }")
    assert "TrustedScript" in message or "unsafe-eval" in message
