"""A PostgreSQL server for the tests: one that CLIPSHELF_TEST_DSN names, or one that a package of the tests carries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from clipshelf import MissingExtra
from clipshelf_bench.postgres_server import running_server


@contextmanager
def server() -> Iterator[str]:
    """The address of an empty server; skips the test where there is none."""
    with ExitStack() as stack:
        try:
            dsn = stack.enter_context(running_server(os.environ.get("CLIPSHELF_TEST_DSN")))
        except MissingExtra as error:
            pytest.skip(f"needs PostgreSQL with pgvector: {error}, or its address in CLIPSHELF_TEST_DSN")
        yield dsn
