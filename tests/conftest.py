from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from clipshelf import Engine


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_artifact(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1)


@pytest.fixture(scope="session")
def default_engine() -> Engine:
    return Engine.load()
