"""Saves contents as the next generation of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.disk.checksummed import BlockWriter, Sums
from clipshelf.catalogue.disk.column_files import COLUMNS, OFFSETS, write_column
from clipshelf.catalogue.disk.folder import changing, commit, current_manifest, next_number, remove_leftovers
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.locations import relative_to
from clipshelf.catalogue.disk.manifest import CatalogueManifest
from clipshelf.catalogue.disk.part_files import PART_ROLES, part_arrays
from clipshelf.catalogue.disk.word_files import word_arrays
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord, writing

Write: TypeAlias = Callable[[BlockWriter], object]
_Spans: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

# What a save does not write again where it is unchanged; it writes all else anew, also in the place of older formats.
_LARGE_ROLES = ("embeddings", *PART_ROLES)


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
    embedder = Embedder(fingerprint, model, root, relevance_curve)
    with changing(folder, old):
        base = origin.generation if origin else None
        new = write_generation(folder, old, contents, embedder, base, shared_roles=_LARGE_ROLES)
        if old is not None:
            new = replace(new, prepared=old.prepared, previous=old.previous)
        generation = commit(folder, new)
    with writing(folder):
        remove_leftovers(folder, new, journals=True)
    return generation


@dataclass(frozen=True)
class Embedder:
    """What a generation records of the model that embedded it; the fields are those of `CatalogueManifest`."""

    fingerprint: str
    model: str | None
    root: Path
    relevance_curve: RelevanceCurve | None = None


def write_generation(
    folder: Path,
    old: CatalogueManifest | None,
    contents: Contents,
    embedder: Embedder,
    base: Generation | None,
    *,
    shared_roles: Collection[str] | None = None,
) -> CatalogueManifest:
    """Write the files of a generation beside the others, and return its manifest, which is not written yet.

    - `old`: the folder's manifest, None for none.
    - `base`: a generation of the folder; files in which the contents do not differ from it are shared.
    - `shared_roles`: the roles of files that may be shared, None for all.
    """
    number = next_number(old)
    root = str(embedder.root.absolute())
    return CatalogueManifest(
        generation=number,
        products=len(contents),
        dim=contents.dim,
        fingerprint=embedder.fingerprint,
        model=embedder.model,
        root=root,
        relative_model=relative_to(embedder.model, folder),
        relative_root=relative_to(root, folder),
        columns=dict(contents.kinds),
        declarations=dict(contents.declarations),
        relevance_curve=embedder.relevance_curve,
        word_columns=list(contents.word_columns),
        falloff=contents.parts.falloff,
        files=_write_files(folder, number, contents, base, shared_roles),
    )


def require_current(folder: Path, origin: Origin, manifest: CatalogueManifest | None) -> None:
    """Raise CatalogueError if `manifest`, the folder's current one, is not that of `origin`."""
    if manifest is None or manifest.generation != origin.number:
        found = "none" if manifest is None else manifest.generation
        raise CatalogueError(
            f"{folder}: expected generation {origin.number}, which this catalogue came from, "
            f"found {found}: it was saved by somebody else since; load it again"
        )


def _write_files(
    folder: Path, number: int, contents: Contents, old: Generation | None, shared_roles: Collection[str] | None
) -> dict[str, FileRecord]:
    """Write the files of generation `number`, and return the records of all its files.

    A file of `old` stays in use where it says what `contents` say, if it has one of the `shared_roles`, None for all.
    """
    files: dict[str, FileRecord] = {}
    sums: list[Sums] = []
    for role, suffix, write in _writers(contents):
        may_be_shared = shared_roles is None or role in shared_roles
        if old is not None and may_be_shared and _is_shared(role, contents, old):
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


def _is_shared(role: str, contents: Contents, old: Generation) -> bool:
    """Whether the file of a role says the same in the contents as in `old`: they have the very object that it holds."""
    if role not in old.readers:  # an older catalogue has its columns in other files
        return False
    if role in (COLUMNS, OFFSETS):
        return contents.kinds is old.kinds
    if role.startswith("words-"):
        return contents.words is old.words
    if role in PART_ROLES:
        return contents.parts is old.parts
    attribute = "products" if role == "offsets" else role
    return getattr(contents, attribute) is getattr(old, attribute)


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
