"""The folder of a catalogue as a whole: its current manifest, and how a writer replaces it in one step.

New files are written beside the old ones, flushed to the disk, opened and checked. Only then the manifest is replaced,
and the files that no generation of it has are removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.journal import is_journal, is_reembedding
from clipshelf.catalogue.disk.manifest import MANIFEST, CatalogueManifest, read_manifest
from clipshelf.errors import CatalogueError
from clipshelf.files import LOCK, durable, sync_folder, writing

REEMBED_LOCK = ".reembed-lock"

_GENERATION_FILE = re.compile(
    r"(embeddings|keys|ids|statistics|products|offsets|blocks|columns|column-offsets|column\d+(-values)?"
    r"|(words|parts)-[a-z]+)"
    r"\.\d+\.(npy|json|jsonl|bin)"
)
_UNFINISHED_MANIFEST = re.compile(re.escape(f".{MANIFEST}.") + r"[0-9a-f]+")
# What operating systems, network drives and file managers put into folders, those of fresh volumes too.
_OF_THE_SYSTEM = re.compile(
    r"lost\+found|\.DS_Store|\.localized|@eaDir|[@#](recycle|snapshot|tmp)|\.Spotlight-V100|\.fseventsd|\.Trashes"
    r"|\.TemporaryItems|\.VolumeIcon\.icns|\.DocumentRevisions-V100|\.apdisk|\._.+|\.Trash-\d+|\.directory"
    r"|\.snapshots?|\.zfs|\.nfs[0-9a-f]+|\.fuse_hidden.+|\.smbdelete.+|System Volume Information|\$RECYCLE\.BIN"
    r"|Thumbs\.db|ehthumbs\.db|desktop\.ini|\.gitkeep|\.keep",
    re.IGNORECASE,
)


def current_manifest(folder: Path) -> CatalogueManifest | None:
    """Read the manifest of the catalogue in `folder`.

    Returns None where no catalogue is yet: in a new or an empty folder, or after a crash in the first save; what the
    system put there, such as `lost+found`, does not count. Raises CatalogueError for a folder of something else.
    """
    if os.path.lexists(folder / MANIFEST):
        return read_manifest(folder)
    if folder.exists() and not folder.is_dir():
        raise CatalogueError(f"{folder}: expected a folder, found a file")
    with writing(folder):
        foreign = [path.name for path in folder.iterdir() if not _is_ours(path.name)] if folder.exists() else []
    if foreign:
        raise CatalogueError(
            f"{folder}: expected a new, an empty or a catalogue folder, found other files: {foreign[0]}"
        )
    return None


def next_number(old: CatalogueManifest | None) -> int:
    """The number of the next generation: none of the folder has it, so that none has files of these names."""
    return 1 + max((manifest.generation for manifest in old.generations), default=0) if old else 1


def commit(folder: Path, manifest: CatalogueManifest) -> Generation:
    """Make a manifest that of the folder, in one step, after its files were opened and checked; returns them opened."""
    # The names of new files must be on the disk before the manifest that has them.
    sync_folder(folder)
    generation = opened(folder, manifest)
    with durable(folder / MANIFEST) as file:
        file.write(manifest.to_bytes())
    return generation


@contextmanager
def changing(folder: Path, old: CatalogueManifest | None) -> Iterator[None]:
    """Remove leftovers before the block, and what the block has written if it fails.

    - `folder`: the folder, which the caller has locked.
    - `old`: its manifest, None for none.

    Turns each OSError into a CatalogueError.
    """
    with writing(folder):
        remove_leftovers(folder, old)
        try:
            yield
        except BaseException:
            # A signal may arrive after the manifest was replaced, so it is read again.
            remove_leftovers(folder, current_manifest(folder))
            raise


def remove_leftovers(folder: Path, manifest: CatalogueManifest | None, *, journals: bool = False) -> None:
    """Remove files of other generations.

    - `folder`: a catalogue's folder, locked.
    - `manifest`: names the files that stay, with those of the generations beside it; None if none do.
    - `journals`: whether journals are removed too.

    Some systems do not remove files that a reader has open; a later save removes these.
    """
    named = {name for each in (manifest.generations if manifest else ()) for name in each.files}
    for path in folder.iterdir():
        is_old = _GENERATION_FILE.fullmatch(path.name) and path.name not in named
        if is_old or _UNFINISHED_MANIFEST.fullmatch(path.name) or (journals and is_journal(path.name)):
            with suppress(PermissionError):
                path.unlink()


def _is_ours(name: str) -> bool:
    return (
        name in (LOCK, REEMBED_LOCK)
        or is_journal(name)
        or is_reembedding(name)
        or any(pattern.fullmatch(name) for pattern in (_GENERATION_FILE, _UNFINISHED_MANIFEST, _OF_THE_SYSTEM))
    )


def opened(folder: Path, manifest: CatalogueManifest) -> Generation:
    """Open a generation before a manifest names it. Raises CatalogueError for one that cannot be opened, for want of
    descriptors say: it replaces no other.
    """
    try:
        return Generation(folder, manifest)
    except OSError as error:
        raise CatalogueError(
            f"{folder}: expected to open the generation {manifest.generation}, found: {error}; the old one stays"
        ) from error
