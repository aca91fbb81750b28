"""A service with keys: the page asks for one, and loads pictures with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clipshelf import Engine
from clipshelf.serve.settings import Settings
from support.service import RunningService
from support.web_page import Open, ids, settle

KEY = "a-key-of-this-test-0123456789abcdef"


@pytest.fixture
def locked(service: RunningService, tiny_engine: Engine, tmp_path: Path) -> Iterator[RunningService]:
    keys = tmp_path / "keys"
    keys.write_text(f"shop {KEY}\n")
    keys.chmod(0o600)
    running = RunningService(tiny_engine, service.service.keeper.folder, Settings(keys=keys)).start()
    yield running
    running.stop()


def test_a_key_is_asked_for_and_kept_in_the_tab(open_page: Open, locked: RunningService) -> None:
    page = open_page("/#q=red", url=locked.url, wait=False, faulty=True)
    for attempt in ("wrong", KEY):
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key", attempt)
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
    settle(page)
    assert page.locator("#key-dialog[open]").count() == 0 and len(ids(page)) == 12
    page.wait_for_selector(".product img[src^='blob:']")
    page.click("#code")
    code = page.text_content("#code-text") or ""
    assert "$CLIPSHELF_KEY" in code and KEY not in code
    page.reload()
    settle(page)
    assert len(ids(page)) == 12 and page.locator("#key-dialog[open]").count() == 0


def test_without_a_key_the_page_says_what_is_missing(open_page: Open, locked: RunningService) -> None:
    page = open_page("/#q=red", url=locked.url, wait=False, faulty=True)
    page.wait_for_selector("#key-dialog[open]")
    page.keyboard.press("Escape")
    assert "key" in page.inner_text(".notice.fault p")
    page.click(".notice.fault button")
    page.wait_for_selector("#key-dialog[open]")
