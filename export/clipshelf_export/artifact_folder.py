"""Write the folder of an artifact whole or not at all.

The artifact is made in a temporary folder beside its final path, flushed to the disk and then renamed.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clipshelf.errors import ExportError
from clipshelf.files import sync_folder
from clipshelf.model.artifact import MANIFEST


@dataclass(frozen=True)
class Draft:
    """The folders of an artifact that is being written, both on the disk of the artifact.

    - `artifact`: becomes the artifact.
    - `scratch`: for temporary files.
    """

    artifact: Path
    scratch: Path


def check_writable(out: Path, *, overwrite: bool) -> None:
    """Check that an artifact may be written to a folder.

    - `out`: may be missing or empty; with `overwrite` it may also hold an artifact.

    Raises ExportError otherwise.
    """
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
def open_draft(out: Path, *, overwrite: bool) -> Iterator[Draft]:
    """Open a draft that becomes the folder `out` when the block ends without an error.

    - `overwrite`: whether `out` may hold an artifact, which is then replaced.

    Yields the draft. Raises ExportError where `out` may not be written or the disk is full; nothing is left then.
    """
    check_writable(out, overwrite=overwrite)
    missing_parents = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
            draft = Draft(Path(temporary) / "artifact", Path(temporary) / "scratch")
            draft.artifact.mkdir()
            draft.scratch.mkdir()
            yield draft
            _flush(draft.artifact)
            check_writable(out, overwrite=overwrite)
            if out.exists():
                out.rename(Path(temporary) / "old")
            draft.artifact.rename(out)
            sync_folder(out.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(out.parent).free
        raise ExportError(f"{out}: disk full, {free / 1e6:.0f} MB free; nothing was written") from error
    finally:
        if not out.exists():
            _remove_empty(missing_parents)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove parents that were made for the artifact, the deepest first."""
    with suppress(OSError):  # another process may use one by now
        for folder in folders:
            folder.rmdir()


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
