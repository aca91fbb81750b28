"""The query as C++, as the page lets people copy it: it compiles without a warning, and answers what the page shows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from building import needs_compiler, succeed, with_library
from clipshelf import Engine
from clipshelf.serve.settings import Settings
from support.service import RunningService, photo
from support.web_page import ids, settle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_compiler
TEXT = """it's "red" \\n )json" \U0001f45f"""


class Code(NamedTuple):
    """The code of a query, and the ids that the page shows as its answer."""

    source: Path
    shown: list[str]


def write_code(page: Page, with_picture: bool, folder: Path) -> Path:
    """Write the code of a query on a page to a file, and its picture beside it."""
    settle(page)
    page.fill("#words", TEXT)
    page.keyboard.press("Enter")
    settle(page)
    if with_picture:
        page.set_input_files("#file", {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": photo("red")})
        page.wait_for_selector("#photo-shown:visible")
        settle(page)
    page.click("#code")
    page.click("#tab-cpp")
    source = folder / "recommend.cpp"
    source.write_text(page.text_content("#code-text") or "", encoding="utf-8")
    if with_picture:
        with page.expect_download() as download:
            page.click("#code-photo")
        download.value.save_as(folder / "photo.jpg")
    return source


@pytest.fixture(params=[False, True], ids=["words", "words and a picture"])
def code(request: pytest.FixtureRequest, browser: Browser, catalogue: Path, tiny_artifact: Path) -> Iterator[Code]:
    running = RunningService(Engine.load(tiny_artifact, threads=1), catalogue, Settings()).start()
    folder: Path = request.getfixturevalue("tmp_path")
    with browser.new_page() as page:
        page.goto(f"{running.url}/#liked=p2&max.price=25&diversity=0.1")
        source = write_code(page, request.param, folder)
        yield Code(source, ids(page))
    running.stop()


def test_cpp(prefix: Path, code: Code, catalogue: Path, tiny_artifact: Path) -> None:
    program = code.source.with_suffix("")
    succeed(with_library(prefix, code.source, program))
    command: list[str | Path] = [program, catalogue, tiny_artifact]
    done = subprocess.run(command, cwd=code.source.parent, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == code.shown == ["p1"]
