"""The page in Debian's Chromium, on a service that runs for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clipshelf import Engine, index
from clipshelf.serve.settings import Settings
from support.service import RunningService
from support.web_page import Open, Witness, products, settle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


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
        options = {"reduced_motion": "reduce"} | options  # what glides is drawn again and again
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(30_000)
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
