"""OUT appears whole or not at all: made in a folder beside it, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from clipshelf.errors import ExportError
from clipshelf.files import sync_folder
from clipshelf.model.artifact import MANIFEST


def check(out: Path, *, overwrite: bool) -> None:
    """Raise ExportError if `out` may not be written: it holds something, and that is no artifact to overwrite."""
    if out.is_dir():
        if not any(out.iterdir()):
            return
        if not overwrite:
            raise ExportError(f"{out}: expected an empty or new folder, found files; --overwrite replaces an artifact")
        if not (out / MANIFEST).is_file():
            raise ExportError(f"{out}: expected an artifact to overwrite, found a folder without {MANIFEST}")
    elif out.exists():
        raise ExportError(f"{out}: expected a folder, found a file")


@contextmanager
def draft(out: Path, *, overwrite: bool) -> Iterator[tuple[Path, Path]]:
    """Yield an empty folder that becomes `out` when the block ends well, and one to work in, both on its disk."""
    check(out, overwrite=overwrite)
    absent = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
            made, work = Path(name) / "made", Path(name) / "work"
            made.mkdir()
            work.mkdir()
            yield made, work
            _flush(made)
            check(out, overwrite=overwrite)
            if out.exists():
                out.rename(Path(name) / "old")
            made.rename(out)
            sync_folder(out.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(out.parent).free
        raise ExportError(f"{out}: disk full, {free / 1e6:.0f} MB free; nothing was written") from error
    finally:
        if not out.exists():
            _remove_empty(absent)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Take away the parents that were made for nothing, the deepest first."""
    with suppress(OSError):  # somebody else uses one by now
        for folder in folders:
            folder.rmdir()


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
