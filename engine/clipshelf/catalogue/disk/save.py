"""Saves contents as the next generation of a folder.

New files are written beside the old ones, flushed to the disk, opened and checked. Only then the manifest is replaced,
in one step, and the files of the generation before are removed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.disk.checksummed import BlockWriter, Sums
from clipshelf.catalogue.disk.column_files import COLUMNS, OFFSETS, write_column
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.journal import is_journal
from clipshelf.catalogue.disk.locations import relative_to
from clipshelf.catalogue.disk.manifest import MANIFEST, CatalogueManifest, read_manifest
from clipshelf.catalogue.disk.part_files import PART_ROLES, part_arrays
from clipshelf.catalogue.disk.word_files import word_arrays
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.errors import CatalogueError
from clipshelf.files import LOCK, FileRecord, durable, sync_folder, writing

Write: TypeAlias = Callable[[BlockWriter], object]
_Spans: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

_GENERATION_FILE = re.compile(
    r"(embeddings|keys|ids|statistics|products|offsets|blocks|columns|column-offsets|column\d+(-values)?|(words|parts)-[a-z]+)"
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


@dataclass(frozen=True)
class Origin:
    """The saved generation that a catalogue was loaded from, or was saved as last.

    - `folder`: the catalogue's folder, resolved.
    - `number`: the generation's number.
    - `generation`: the generation itself, None in an origin that was pickled or copied.
    """

    folder: Path
    number: int
    generation: Generation | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, generation: Generation) -> Origin:
        """The origin of what comes from `generation`."""
        return cls(generation.folder, generation.manifest.generation, generation)

    def __reduce__(self) -> tuple[Any, ...]:
        # The folder may have a later generation by the time that this one is unpickled, so it is not opened there.
        return Origin, (self.folder, self.number)


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


def save_generation(
    folder: Path,
    contents: Contents,
    *,
    fingerprint: str,
    model: str | None,
    root: Path,
    origin: Origin | None = None,
    relevance_curve: RelevanceCurve | None = None,
) -> Generation:
    """Save contents as the next generation of a folder.

    - `folder`: the folder, which the caller has locked.
    - `contents`: N products.
    - `fingerprint`, `model`, `root`, `relevance_curve`: as in `CatalogueManifest`.
    - `origin`: the saved generation that the contents come from. If `folder` is its folder, its generation must still
      be the current one, and its matrix and parts are not written again if they are unchanged.

    Returns the new generation, opened. Raises CatalogueError if another generation was saved since `origin`, for a
    folder that cannot be written, and for a generation that cannot be opened again; the old state is then intact, and
    nothing is left behind.
    """
    old = current_manifest(folder)
    origin = origin if origin is not None and origin.folder == folder.resolve() else None
    if origin is not None:
        require_current(folder, origin, old)
    number = old.generation + 1 if old else 1
    with writing(folder):
        remove_leftovers(folder, old)
        try:
            files = _write_files(folder, number, contents, origin.generation if origin else None)
            new = CatalogueManifest(
                generation=number,
                products=len(contents),
                dim=contents.dim,
                fingerprint=fingerprint,
                model=model,
                root=str(root.absolute()),
                relative_model=relative_to(model, folder),
                relative_root=relative_to(str(root.absolute()), folder),
                columns=dict(contents.kinds),
                declarations=dict(contents.declarations),
                relevance_curve=relevance_curve,
                word_columns=list(contents.word_columns),
                falloff=contents.parts.falloff,
                files=files,
            )
            # The names of the new files must be on the disk before the manifest that has them.
            sync_folder(folder)
            generation = _opened(folder, new)
            with durable(folder / MANIFEST) as file:
                file.write(new.to_bytes())
        except BaseException:
            # A signal may arrive after the manifest was replaced, so it is read again.
            remove_leftovers(folder, current_manifest(folder))
            raise
        remove_leftovers(folder, new, journals=True)
    return generation


def remove_leftovers(folder: Path, manifest: CatalogueManifest | None, *, journals: bool = False) -> None:
    """Remove files of other generations.

    - `folder`: a catalogue's folder, locked.
    - `manifest`: names the files that stay; None if none do.
    - `journals`: whether journals are removed too.

    Some systems do not remove files that a reader has open; a later save removes these.
    """
    for path in folder.iterdir():
        is_old = _GENERATION_FILE.fullmatch(path.name) and not (manifest and path.name in manifest.files)
        if is_old or _UNFINISHED_MANIFEST.fullmatch(path.name) or (journals and is_journal(path.name)):
            with suppress(PermissionError):
                path.unlink()


def require_current(folder: Path, origin: Origin, manifest: CatalogueManifest | None) -> None:
    """Raise CatalogueError if `manifest`, the folder's current one, is not that of `origin`."""
    if manifest is None or manifest.generation != origin.number:
        found = "none" if manifest is None else manifest.generation
        raise CatalogueError(
            f"{folder}: expected generation {origin.number}, which this catalogue came from, "
            f"found {found}: it was saved by somebody else since; load it again"
        )


def _is_ours(name: str) -> bool:
    return (
        name == LOCK
        or is_journal(name)
        or any(pattern.fullmatch(name) for pattern in (_GENERATION_FILE, _UNFINISHED_MANIFEST, _OF_THE_SYSTEM))
    )


def _opened(folder: Path, manifest: CatalogueManifest) -> Generation:
    """A generation that was just written. One that cannot be opened, for want of descriptors say, replaces no other."""
    try:
        return Generation(folder, manifest)
    except OSError as error:
        raise CatalogueError(
            f"{folder}: expected to open the new generation {manifest.generation}, found: {error}; the old one stays"
        ) from error


def _write_files(folder: Path, number: int, contents: Contents, old: Generation | None) -> dict[str, FileRecord]:
    """Write the files of generation `number`, and return the records of all its files.

    The matrix of `old` stays in use if it is that of `contents`, and so do its parts.
    """
    files: dict[str, FileRecord] = {}
    sums: list[Sums] = []
    for role, suffix, write in _writers(contents):
        if old is not None and _is_unchanged(role, contents, old):
            name = old.manifest.name(role)
            files[name] = old.manifest.files[name]
            sums.append(old.readers[role].sums)
            continue
        name = f"{role}.{number}.{suffix}"
        with BlockWriter.open(folder / name) as writer:
            write(writer)
        files[name] = writer.record
        sums.append(writer.sums)
    name = f"blocks.{number}.npy"
    with BlockWriter.open(folder / name) as writer:
        _write_array(writer, np.concatenate(sums))
    files[name] = writer.record
    return files


def _is_unchanged(role: str, contents: Contents, old: Generation) -> bool:
    """Whether the file of a role in `old` holds what `contents` has."""
    if role == "embeddings":
        return contents.embeddings is old.embeddings
    return role in PART_ROLES and contents.parts is old.parts


def _writers(contents: Contents) -> Iterator[tuple[str, str, Write]]:
    """The role and suffix of each file, and what writes it, in the order of the manifest."""
    yield "embeddings", "npy", lambda file: _write_array(file, contents.embeddings)
    yield "keys", "npy", lambda file: _write_array(file, contents.keys)
    yield "ids", "json", lambda file: _write_json(file, contents.ids)
    yield "statistics", "json", lambda file: _write_json(file, contents.statistics.to_dict())
    lengths = [0]
    yield "products", "jsonl", lambda file: lengths.extend(file.write(_line(product)) for product in contents.products)
    yield "offsets", "npy", lambda file: _write_array(file, np.cumsum(lengths, dtype=np.int64))
    spans: list[_Spans] = []
    yield COLUMNS, "bin", lambda file: spans.extend(_write_columns(file, contents))
    yield OFFSETS, "npy", lambda file: _write_array(file, np.array(spans, np.int64).reshape(-1, 2, 2))
    if contents.words is not None:
        for role, array in word_arrays(contents.words):
            yield role, "npy", partial(_write_array, array=array)
    for role, array in part_arrays(contents.parts):
        yield role, "npy", partial(_write_array, array=array)


def _write_columns(file: BlockWriter, contents: Contents) -> Iterator[_Spans]:
    """Write all columns, and yield where the array and the table of each start and end."""
    for name, kind in contents.kinds.items():
        if kind == "mixed":
            yield (0, 0), (0, 0)
        else:
            yield write_column(file, contents.column(name), file.size)


def _write_array(file: BlockWriter, array: npt.NDArray[Any]) -> None:
    np.save(file, array, allow_pickle=False)


def _write_json(file: BlockWriter, value: object) -> None:
    file.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


def _line(product: object) -> bytes:
    return json.dumps(product, ensure_ascii=False, allow_nan=False).encode() + b"\n"
