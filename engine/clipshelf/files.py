"""Durable writes, the checksum record of a file, and folders that have one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clipshelf.errors import CatalogueError, InputError
from clipshelf.interrupts import check_interrupt

LOCK = ".lock"  # name of the lock file of a folder; it holds the process id and the host of its last writer
MANIFEST_BYTES = 1 << 26  # the most that the manifest of a folder may have; that of 100,000 columns has less
_CHUNK_BYTES = 1 << 20
# Letters of a file's name that its draft has too; the whole name might be too long with more.
_NAME_IN_DRAFT = 40
# Seconds between two tries to get a lock.
_LOCK_INTERVAL = 0.05
# What file systems without fsync answer: SMB, some of FUSE, network drives.
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


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
        """The record of the file at `path`; raises OSError where it cannot be read or is no regular file."""
        with open_regular(path) as file:
            return cls.of_stream(file)

    @classmethod
    def of_stream(cls, file: BinaryIO) -> FileRecord:
        """The record of what is left of a binary stream."""
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
        return cls(size, digest.hexdigest())


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    A pipe would wait for a writer, and a device might never end. Raises OSError for both, as for any other file that
    cannot be opened.
    """
    return _regular(path, "rb", os.O_RDONLY)


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises OSError for another file, as `open_regular` does, and for a larger one.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"expected at most {most} bytes, found {size}", str(path))
        return file.read(most)


def read_stamp(path: Path) -> tuple[int, int, int]:
    """What changes when another file takes the place of a file: its time, its inode and its size. Raises OSError."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def open_to_append(path: Path) -> BinaryIO:
    """Open a regular file for reading and for appending; it is made where there is none.

    A symbolic link is not followed: it might lead to any file. Raises OSError for one.
    """
    return _regular(path, "a+b", os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))


@contextmanager
def durable(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears, or replaces the old one, in one step when the block ends without an error.

    - `path`: the file; its folder exists. A symbolic link is replaced, not followed.

    Any number of threads and processes may write the same file at the same time: each has a draft of its own, and the
    last one to end wins. Yields the binary file to write to. The bytes are on the disk before the file appears, where
    the file system can flush. Raises OSError naming `path`.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    draft = path.with_name(f".{path.name[:_NAME_IN_DRAFT]}.{os.urandom(8).hex()}")
    try:
        # "x" makes a new file, and follows no link.
        with draft.open("xb") as file:
            yield file
            file.flush()
            flush_to_disk(file.fileno())
        draft.replace(path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename == str(draft):
            error.filename, error.filename2 = str(path), None
        raise
    sync_folder(path.parent)


def flush_to_disk(descriptor: int) -> None:
    """Flush a file to the disk, where its file system can; raises OSError where flushing fails."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, on systems and file systems that can; raises OSError."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder may be written without being listed
        return
    try:
        flush_to_disk(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, *, timeout: float = 0.0, name: str = LOCK) -> Iterator[None]:
    """Be the only writer of a folder while the block runs.

    - `folder`: made where it does not exist.
    - `name`: of the lock's file; writers with locks of other names do not exclude each other.
    - `timeout`: seconds to wait for another writer, from 0 on; `math.inf` waits for as long as it takes.

    The system releases the lock when the process ends, however it ends; the file stays. Raises CatalogueError
    while there is another writer, in this process or another one, for a folder that cannot be written, and for a file
    system that has no locks; InputError for another `timeout`.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout) or timeout < 0:
        raise InputError(f"timeout: expected seconds from 0 on, found {timeout!r}")
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise CatalogueError(f"{folder}: expected a folder, found a file")
        folder.mkdir(parents=True, exist_ok=True)
        file = open_to_append(folder / name)
    with file:
        _wait_for_lock(file, folder, timeout)
        owner = os.getpid()
        with writing(folder):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{owner} on {_host()}\n".encode())
        try:
            yield
        finally:
            # A forked child may hold the descriptor for longer, and does not release the lock of its parent.
            if os.getpid() == owner:
                _unlock(file)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn each OSError of the block into a CatalogueError that names `folder` as one that cannot be written."""
    try:
        yield
    except OSError as error:
        raise CatalogueError(f"{folder}: expected a folder that can be written, found: {error}") from error


def _regular(path: Path, mode: str, flags: int) -> BinaryIO:
    # Without O_NONBLOCK, the opening of a pipe waits; a regular file ignores it.
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "expected a regular file, found a folder, pipe or device", str(path))
        return os.fdopen(descriptor, mode)  # type: ignore[return-value]
    except BaseException:
        os.close(descriptor)
        raise


def _wait_for_lock(file: BinaryIO, folder: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            if _try_lock(file):
                return
        except OSError as error:
            raise CatalogueError(
                f"{folder}: expected a file system that can lock files, found one that cannot: {error}; write the "
                "catalogue to a folder on a local disk, and copy it here"
            ) from error
        if time.monotonic() >= deadline:
            file.seek(0)
            holder = file.read(80).decode("ascii", "replace").strip() or "unknown"
            waited = f" after {timeout:g} seconds" if timeout else "; --wait SECONDS or timeout= waits for it"
            raise CatalogueError(f"{folder}: expected no other writer, found one at work, process {holder}{waited}")
        check_interrupt()
        time.sleep(_LOCK_INTERVAL)


def _host() -> str:
    """The name of this machine or container: a process id means something there alone."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "unknown")


if sys.platform == "win32":
    import msvcrt

    # The locked byte lies past the text, so that other processes can still read the text.
    _LOCKED_BYTE = 1 << 20

    def _try_lock(file: BinaryIO) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
