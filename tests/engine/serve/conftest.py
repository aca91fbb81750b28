from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clipshelf import Engine
from clipshelf.serve.server import image_limits
from clipshelf.serve.settings import Settings
from support.service import RunningService, Serve, write_shelf


@pytest.fixture(scope="session")
def tiny_engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1, limits=image_limits(Settings()))


@pytest.fixture(scope="session")
def shelf_folder(tiny_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shelf(tiny_engine, tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="session")
def running(tiny_engine: Engine, shelf_folder: Path) -> Iterator[RunningService]:
    """A service with the default settings that tests share and leave as it is."""
    service = RunningService(tiny_engine, shelf_folder, Settings()).start()
    yield service
    service.stop()


@pytest.fixture
def serve(tiny_engine: Engine, tmp_path: Path) -> Iterator[Serve]:
    """Starts services of a test's own, each on a catalogue of its own."""
    services: list[RunningService] = []

    def start(settings: Settings) -> RunningService:
        folder = write_shelf(tiny_engine, tmp_path / str(len(services)))
        services.append(RunningService(tiny_engine, folder, settings).start())
        return services[-1]

    yield start
    for service in services:
        service.stop()
