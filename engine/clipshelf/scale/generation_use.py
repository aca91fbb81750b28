"""Marks a generation of a sharded catalogue as used, so that later publications leave its folders in place.

A user holds a shared lock on a pooled file of the generation. The system releases it when the process ends, however it
ends. On a file system without locks, and on Windows, nothing is marked: only the generation before the current one
stays.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from clipshelf.files import open_regular
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.pooled_files import SAMPLE_FILE


class GenerationUse:
    """Keeps the folders of a generation until `end`.

    - `folder`, `manifest`: of the sharded catalogue.
    """

    def __init__(self, folder: Path, manifest: ShardedManifest) -> None:
        self._file: BinaryIO | None = None
        with suppress(OSError):
            self._file = open_regular(folder / manifest.pooled_folder / SAMPLE_FILE)
            _lock(self._file, shared=True)

    def end(self) -> None:
        """Let later publications remove the folders."""
        if self._file is not None:
            self._file.close()


def is_used(pooled_folder: Path) -> bool:
    """Whether this process or another one uses the generation whose pooled files are in a folder."""
    try:
        # Some network file systems give an exclusive lock for a file that is open for writing alone.
        with (pooled_folder / SAMPLE_FILE).open("r+b") as file:
            _lock(file, shared=False)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


if sys.platform == "win32":

    def _lock(_file: BinaryIO, *, shared: bool) -> None:  # noqa: ARG001
        raise OSError("expected locks that many may share, found none")

else:
    import fcntl

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        """Lock a file until it is closed; raises BlockingIOError where another one has locked it."""
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
