from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy and torch read it: a worker has one CPU, and others have theirs
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from clipshelf import Engine
from support import tiny

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_artifact(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; a process can drive one at a time."""
    from support.web_page import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def default_engine() -> Engine:
    return Engine.load()
