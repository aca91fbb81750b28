from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from clipshelf import Engine
from support import tiny
from support.postgres_server import server
from support.same_answers import DIM

pytest.importorskip("psycopg", reason="needs psycopg and pgvector, of the extra postgres")
pytest.importorskip("pgvector", reason="needs psycopg and pgvector, of the extra postgres")

from clipshelf.postgres.catalogue import PostgresCatalogue


@pytest.fixture(scope="session")
def narrow_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("narrow"), dim=DIM))


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    with server() as address:
        yield address


@pytest.fixture
def opened(dsn: str) -> Iterator[Callable[..., PostgresCatalogue]]:
    """Opens catalogues of the database, which are closed after the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(closing(PostgresCatalogue(dsn, *arguments, **options)))
