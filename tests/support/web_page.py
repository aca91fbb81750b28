"""What tests of the service's page share: its products, what they read off it, and what may not happen on it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from support.service import COLOURS, THINGS, photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, FilePayload, Page, Request

CHROMIUM = os.environ.get("CLIPSHELF_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")

MADE_OF = ("cotton", "leather", "wool")

Open: TypeAlias = "Callable[..., Page]"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped where it or playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the dependency group dev")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: the package chromium of Debian, or its path in CLIPSHELF_CHROMIUM")
    with playwright.sync_playwright() as driver:
        # Root has no sandbox in a container, and /dev/shm is small there.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


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


class Witness:
    """What a page did that a page of ours never does.

    - `complaints`: errors, dialogs, and warnings such as those of the content policy.
    - `foreign`: requests to other hosts.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self._own = (url + "/", "blob:" + url, "data:")
        page.on("console", self._hear)
        page.on("pageerror", self._catch)
        page.on("dialog", self._dismiss)
        page.on("request", self._note)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _catch(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _dismiss(self, dialog: Dialog) -> None:
        self.complaints.append(dialog.message)
        dialog.dismiss()

    def _note(self, request: Request) -> None:
        if not request.url.startswith(self._own):
            self.foreign.append(request.url)


def settle(page: Page) -> None:
    """Wait for the answer to what was done; the page says that it is busy from the act on."""
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


def colour_file(colour: str) -> FilePayload:
    """A photo as a file input takes it."""
    return {"name": f"{colour}.jpg", "mimeType": "image/jpeg", "buffer": photo(colour)}
