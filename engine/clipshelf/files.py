"""Durable writes, the checksum record of a file, and folders that have one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clipshelf.errors import CatalogueError

LOCK = ".lock"  # name of the lock file of a folder; it holds the process id of its last writer
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """What a manifest records of one file.

    - `bytes`: its size.
    - `sha256`: its SHA-256, 64 hex digits.
    """

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """The record of the file at `path`; raises OSError where it cannot be read."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return cls(path.stat().st_size, digest.hexdigest())


@contextmanager
def durable(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears, or replaces the old one, in one step when the block ends without an error.

    - `path`: the file; its folder exists.

    Yields the binary file to write to. The bytes are on the disk before the file appears. Raises OSError naming `path`.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
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
    """Flush the entries of a folder to the disk, on systems that can (POSIX); raises OSError."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only writer of a folder while the block runs.

    - `folder`: made where it does not exist.

    The system releases the lock when the process ends, however it ends; the file `.lock` stays. Raises CatalogueError
    while there is another writer, in this process or another one, and for any OSError.
    """
    try:
        with _lock_held(folder):
            yield
    except OSError as error:
        raise CatalogueError(f"{folder}: expected a folder that can be written, found: {error}") from error


@contextmanager
def _lock_held(folder: Path) -> Iterator[None]:
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

    # The locked byte lies past the text, so that other processes can still read the text.
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
