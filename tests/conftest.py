from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy and torch read it: a worker has one CPU, and others have theirs
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from clipshelf import Engine
from support import tiny


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_artifact(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1)


@pytest.fixture(scope="session")
def default_engine() -> Engine:
    return Engine.load()
