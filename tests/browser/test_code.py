"""The query as code: what the page lets people copy runs, and answers what the page shows."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.service import RunningService
from support.web_page import Open, colour_file, ids, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

HARD = """it's "red" & <warm> $HOME `id` \\n %s {x} )json" \U0001f45f\nsecond line"""
FILTER = "min.price=20&max.price=200.5&is.category=shoe&is.category=watch&is.in_stock=true&is.tags=cotton&is.tags=wool"


def code(page: Page, language: str) -> str:
    """What is copied of a language, by the button."""
    page.click(f"#tab-{language}")
    page.click("#code-copy")
    page.locator("#code-copy", has_text="Copied").wait_for()
    copied: str = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.text_content("#code-text")
    return copied


def open_query(open_page: Open, with_picture: bool, folder: Path) -> Page:
    page = open_page(
        f"/#liked=wool/blue-watch&disliked=cotton/green-shirt&similar=leather/red-shirt&{FILTER}&weight.text=0.5&diversity=0.2",
        permissions=["clipboard-read", "clipboard-write"],
    )
    page.fill("#words", HARD)
    page.keyboard.press("Enter")
    settle(page)
    if with_picture:
        page.set_input_files("#file", colour_file("red"))
        page.wait_for_selector("#photo-shown:visible")
        settle(page)
    page.click("#code")
    if with_picture:
        with page.expect_download() as download:
            page.click("#code-photo")
        download.value.save_as(folder / "photo.jpg")
        assert download.value.suggested_filename == "photo.jpg"
    else:
        assert page.is_hidden("#code-photo")
    return page


@pytest.mark.parametrize("with_picture", [False, True])
def test_curl(open_page: Open, tmp_path: Path, with_picture: bool) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    page = open_query(open_page, with_picture, tmp_path)
    done = subprocess.run(
        ["sh", "-c", code(page, "curl")], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [item["id"] for item in answer["recommendations"]] == ids(page) != []


@pytest.mark.parametrize("with_picture", [False, True])
def test_python(open_page: Open, tmp_path: Path, with_picture: bool) -> None:
    page = open_query(open_page, with_picture, tmp_path)
    source = code(page, "python")
    ast.parse(source)
    done = subprocess.run(
        [sys.executable, "-I", "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ids(page) != []


def test_there_is_no_code_without_a_query(open_page: Open) -> None:
    page = open_page()
    page.click("#code")
    assert "Say first what you look for" in (page.text_content("#toast.shown") or "")
    assert page.locator("#code-dialog[open]").count() == 0


def test_without_a_clipboard_the_code_is_selected(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=red", permissions=[])
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('closed')); }")
    page.click("#code")
    page.click("#code-copy")
    page.locator("#code-copy", has_text="Selected").wait_for()
    assert page.evaluate("getSelection().toString()").startswith(f"curl '{service.url}/v1/recommend'")
