from __future__ import annotations

from pathlib import Path

import pytest
from building import COMPILER, PRODUCTS
from clipshelf import Catalogue, Engine
from clipshelf.bundled import host_path
from clipshelf.host.build import build
from support.build_cache import CHECKOUT, cached, toolchain


@pytest.fixture(scope="session")
def prefix() -> Path:
    """Where the library, its headers and its CMake package are installed."""
    sources = [host_path() / name for name in ("CMakeLists.txt", "clipshelf.pc.in", "include", "src")]
    sources.append(CHECKOUT / "engine/clipshelf/host/build.py")
    return cached("host", [*sources, *toolchain(str(COMPILER))], build)


@pytest.fixture(scope="session")
def catalogue(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "catalogue"
    Catalogue.build(Engine.load(tiny_artifact), PRODUCTS).save(folder)
    return folder
