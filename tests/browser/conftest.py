"""The page in Debian's Chromium, on a service that runs for real."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clipshelf import Engine, index
from clipshelf.serve.settings import Settings
from support import tiny
from support.service import COLOURS, THINGS, RunningService, photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CLIPSHELF_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "google-chrome"))), None
)
MADE_OF = ("cotton", "leather", "wool")

Open = Callable[..., "Page"]


def products(folder: Path) -> list[dict[str, Any]]:
    """27 products with columns of every kind that the page filters, of which the last three have no picture."""
    for colour in COLOURS:
        (folder / f"{colour}.jpg").write_bytes(photo(colour))
    rows = [(colour, thing, made_of) for made_of in MADE_OF for colour in COLOURS for thing in THINGS]
    return [
        {
            "id": f"{made_of}/{colour}-{thing}",
            "text": f"a {colour} {thing} of {made_of}",
            **({} if row >= 24 else {"image": str(folder / f"{colour}.jpg")}),
            "category": thing,
            "price": 10.0 * (row + 1),
            "added": f"2026-01-{row + 1:02}",
            "in_stock": row % 2 == 0,
            "tags": [made_of, "sale"] if row % 3 == 0 else [made_of],
        }
        for row, (colour, thing, made_of) in enumerate(rows)
    ]


@pytest.fixture(scope="session")
def tiny_engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1)


@pytest.fixture(scope="session")
def service(tiny_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that tests share and leave as it is."""
    folder = tmp_path_factory.mktemp("page")
    index(tiny_engine, products(folder), folder / "shelf")
    running = RunningService(tiny_engine, folder / "shelf", Settings()).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the dependency group dev")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: the package chromium of Debian, or its path in CLIPSHELF_CHROMIUM")
    with playwright.sync_playwright() as driver:
        # Root has no sandbox in a container, and /dev/shm is small there.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Witness:
    """What a page did that a page of ours never does.

    - `complaints`: errors, and warnings such as those of the content policy.
    - `foreign`: requests to other hosts.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self._note(request.url, url))

    def _note(self, address: str, own: str) -> None:
        if not address.startswith((own + "/", "data:", "blob:" + own)):
            self.foreign.append(address)


@pytest.fixture
def open_page(browser: Browser, service: RunningService) -> Iterator[Open]:
    """Opens the page of a service, at an address, in a window; nothing may be wrong at the end of the test.

    - `address`: from the path on, such as `/#q=red`.
    - `width`, `height`, and what `Browser.new_context` takes.
    - `url`: of another service than the shared one.
    - `faulty`: whether failed requests, which browsers put into the console, are expected.
    """
    witnesses: list[tuple[Witness, bool]] = []
    contexts = []

    def open_(
        address: str = "/",
        *,
        width: int = 1200,
        height: int = 900,
        url: str = service.url,
        faulty: bool = False,
        wait: bool = True,
        **options: Any,
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        witnesses.append((Witness(page, url), faulty))
        page.goto(url + address)
        if wait:
            settle(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    for witness, faulty in witnesses:
        assert not witness.foreign
        assert faulty or not witness.complaints


def settle(page: Page) -> None:
    """Wait for the answer to what was done."""
    page.wait_for_timeout(30)  # a change of words or sliders waits longer, for which tests wait by what they expect
    page.wait_for_selector('#cards[aria-busy="false"]:not(:empty)')


def wait_for_text(page: Page, selector: str, text: str) -> None:
    """Wait until an element says something."""
    page.locator(selector).filter(has_text=text).wait_for(state="attached")


def ids(page: Page) -> list[str]:
    """The ids of the products that are shown, in order."""
    found: list[str] = page.eval_on_selector_all("#cards .product", "cards => cards.map(card => card.dataset.id)")
    return found


def chips(page: Page) -> list[str]:
    """What the session's chips say."""
    return page.locator("#chips .chip > span:not(.none)").all_inner_texts()


def colour_file(colour: str) -> dict[str, Any]:
    """A photo as a file input takes it."""
    return {"name": f"{colour}.jpg", "mimeType": "image/jpeg", "buffer": photo(colour)}


def colour_of(colour: str) -> str:
    """A colour as CSS has it."""
    return "rgb({}, {}, {})".format(*tiny.COLOURS[colour])
