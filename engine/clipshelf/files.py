"""Durable writes, the checksum record of a file, and folders that have one writer at a time."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clipshelf.errors import CatalogueError

LOCK = ".lock"


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Measure the file at `path`."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return cls(path.stat().st_size, digest.hexdigest())


@contextmanager
def durable(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, or replaces what was there, in one step when the block ends well.

    Raises OSError naming `path`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename == str(draft):
            error.filename, error.filename2 = str(path), None
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the one writer of `folder`, which is made where there is none, while the block runs.

    The system gives the lock back when its process ends, however it ends; the file `.lock` stays.
    Raises CatalogueError while somebody else writes, in this process or another, and for any OSError.
    """
    try:
        with _held(folder):
            yield
    except OSError as error:
        raise CatalogueError(f"{folder}: expected a folder that can be written, found: {error}") from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+b") as file:
        if not _try_lock(file):
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
            raise CatalogueError(f"{folder}: expected no other writer, found one at work, process {holder}")
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())
        file.flush()
        yield


if sys.platform == "win32":
    import msvcrt

    # The byte that is locked lies past the text, which others may then still read.
    _LOCKED_BYTE = 1 << 20

    def _try_lock(file: BinaryIO) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
