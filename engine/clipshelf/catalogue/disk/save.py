"""Saving a generation: new files beside the old ones, all flushed to the disk, then one switch of the manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.disk.checksummed import BlockWriter, Sums
from clipshelf.catalogue.disk.generation import Content, Generation
from clipshelf.catalogue.disk.journal import is_journal
from clipshelf.catalogue.disk.manifest import MANIFEST, CatalogueManifest, read_manifest
from clipshelf.errors import CatalogueError
from clipshelf.files import LOCK, FileRecord, durable, sync_folder

Dump: TypeAlias = Callable[[BlockWriter], object]

_GENERATION = re.compile(
    r"(embeddings|keys|ids|statistics|products|offsets|blocks|column\d+(-values)?)\.\d+\.(npy|json|jsonl)"
)
_DRAFT = re.compile(re.escape(f".{MANIFEST}.") + r"\d+")


def current(folder: Path) -> CatalogueManifest | None:
    """The manifest in `folder`, None where no catalogue is yet: in a new or empty one, or after a first save's crash.

    Raises CatalogueError on a folder of something else.
    """
    if (folder / MANIFEST).exists():
        return read_manifest(folder)
    other = [path.name for path in folder.iterdir() if not _is_ours(path.name)] if folder.exists() else []
    if other:
        raise CatalogueError(f"{folder}: expected a new, an empty or a catalogue folder, found other files: {other[0]}")
    return None


def publish(
    folder: Path, content: Content, *, fingerprint: str, model: str | None, root: Path, base: Generation | None
) -> None:
    """Save `content` as the next generation of `folder`, which the caller has locked.

    The matrix of `base`, where that is the generation before, isn't written again when it stayed the same.
    Raises OSError; what was there then stays intact, and nothing is left behind.
    """
    before = current(folder)
    number = before.generation + 1 if before else 1
    sweep(folder, before)
    try:
        files: dict[str, FileRecord] = {}
        sums: list[Sums] = []
        if base is not None and content.embeddings is base.embeddings:
            name = base.manifest.name("embeddings")
            files[name], own = base.manifest.files[name], base.readers["embeddings"].sums
            sums.append(own)
        for role, suffix, dump in _dumps(content, skip=len(files)):
            name = f"{role}.{number}.{suffix}"
            with BlockWriter.open(folder / name) as writer:
                dump(writer)
            files[name] = writer.record
            sums.append(writer.sums)
        with BlockWriter.open(folder / f"blocks.{number}.npy") as writer:
            _save_array(writer, np.concatenate(sums))
        files[f"blocks.{number}.npy"] = writer.record
        after = CatalogueManifest(
            number, len(content), content.dim, fingerprint, model, str(root), dict(content.kinds), files
        )
        # The new names must be on the disk before the manifest that names them.
        sync_folder(folder)
        with durable(folder / MANIFEST) as file:
            file.write(after.to_bytes())
    except BaseException:
        # A signal may have come after the switch.
        sweep(folder, current(folder))
        raise
    sweep(folder, after, journals=True)


def sweep(folder: Path, manifest: CatalogueManifest | None, *, journals: bool = False) -> None:
    """Remove what generations other than the manifest's have left, and journals too when asked.

    Some systems don't remove files that a reader has open: these go at a later save.
    """
    for path in folder.iterdir():
        left = _GENERATION.fullmatch(path.name) and not (manifest and path.name in manifest.files)
        if left or _DRAFT.fullmatch(path.name) or (journals and is_journal(path.name)):
            with suppress(PermissionError):
                path.unlink()


def _is_ours(name: str) -> bool:
    return name == LOCK or is_journal(name) or bool(_GENERATION.fullmatch(name) or _DRAFT.fullmatch(name))


def _dumps(content: Content, skip: int) -> Iterator[tuple[str, str, Dump]]:
    """Role, suffix and writing of each file, without the first `skip`."""
    if not skip:
        yield "embeddings", "npy", lambda file: _save_array(file, content.embeddings)
    yield "keys", "npy", lambda file: _save_array(file, content.keys)
    yield "ids", "json", lambda file: _save_json(file, content.ids)
    yield "statistics", "json", lambda file: _save_json(file, content.statistics.to_dict())
    lengths = [0]
    yield "products", "jsonl", lambda file: lengths.extend(file.write(_line(product)) for product in content.products)
    yield "offsets", "npy", lambda file: _save_array(file, np.cumsum(lengths, dtype=np.int64))
    for i, (name, kind) in enumerate(content.kinds.items()):
        if kind != "mixed":
            column = content.column(name)
            table = {"values": column.values, "starts": column.starts}
            yield f"column{i}", "npy", partial(_save_array, array=column.places)
            yield f"column{i}-values", "json", partial(_save_json, value=table)


def _save_array(file: BlockWriter, array: npt.NDArray[Any]) -> None:
    np.save(file, array, allow_pickle=False)


def _save_json(file: BlockWriter, value: object) -> None:
    file.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


def _line(product: object) -> bytes:
    return json.dumps(product, ensure_ascii=False, allow_nan=False).encode() + b"\n"
