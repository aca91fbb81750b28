"""Writes sharded catalogues: the shards of contents, what is pooled over them, and the manifest that publishes both."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.disk.manifest import MANIFEST as CATALOGUE_MANIFEST
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.errors import CatalogueError, InputError
from clipshelf.files import FileRecord, durable, locked, sync_folder, writing
from clipshelf.scale.catalogue import WORDS_FILE, ShardedCatalogue, shards_of_keys
from clipshelf.scale.generation_use import is_used
from clipshelf.scale.manifest import (
    MANIFEST,
    MOST_SHARDS,
    ShardedManifest,
    ShardRecord,
    current_generation,
    is_ours,
    read_manifest,
)
from clipshelf.scale.pooled_files import SAMPLE_FILE
from clipshelf.scale.pooling import Pooled, SavedShards, ordinals_name, pool, quantiles_name
from clipshelf.scale.steps import Run, run_here
from clipshelf.types import PathLike, Rows


@dataclass(frozen=True)
class WrittenShard:
    """A shard that is ready to be published.

    - `folder`: an ordinary catalogue, below the folder of the sharded one.
    - `ordinals`: (n,) int64 of its products, ascending.
    """

    folder: Path
    ordinals: Rows


def check_shards(shards: int) -> None:
    """Raise InputError for a number of shards that a catalogue cannot have."""
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MOST_SHARDS:
        raise InputError(f"shards: expected a number from 1 to {MOST_SHARDS:,}, found {shards!r}")


def split(catalogue: Catalogue, path: PathLike, shards: int, *, timeout: float = 0.0) -> ShardedCatalogue:
    """Write the products of one catalogue as a sharded one; nothing is embedded.

    - `path`: its folder; a sharded catalogue that is there gets its next generation.
    - `shards`: their number, from 1.
    - `timeout`: seconds to wait for another writer.

    Returns the sharded catalogue. Raises InputError and CatalogueError.
    """
    check_shards(shards)
    folder = Path(path)
    with locked(folder, timeout=timeout):
        generation = current_generation(folder) + 1
        owners = shards_of_keys(catalogue.contents.keys[:, 0], shards)
        written = []
        for shard in range(shards):
            rows = np.flatnonzero(owners == shard)
            target = folder / shard_folder(shard, generation)
            write_shard(target, catalogue, rows)
            written.append(WrittenShard(target, rows))
        declared = {**dict.fromkeys(catalogue.contents.kinds, ""), **catalogue.contents.declarations}
        publish(folder, generation, written, declared, relevance_curve=catalogue.relevance_curve)
    return ShardedCatalogue(folder)


def write_shard(folder: Path, catalogue: Catalogue, rows: Rows) -> None:
    """Write some rows (n,) of a catalogue as a catalogue of their own, in a folder that is made anew."""
    contents = catalogue.contents
    declared = {name: declaration for name, declaration in contents.declarations.items() if declaration}
    part = MemoryContents(
        contents.records(rows),
        contents.embeddings[rows],
        contents.keys[rows],
        declared,
        tuple(contents.word_columns),
        contents.parts.take(rows),
    )
    save_shard(folder, Catalogue(part, catalogue.fingerprint, catalogue.root, catalogue.model))


def save_shard(folder: Path, catalogue: Catalogue) -> None:
    """Save a catalogue as a shard; what an interrupted run left in the folder goes."""
    if folder.exists():
        shutil.rmtree(folder)
    catalogue.save(folder)


def shard_folder(shard: int, generation: int) -> str:
    """The name of the folder of a shard that a generation writes."""
    return f"shard-{shard:04}.{generation}"


def publish(
    folder: Path,
    generation: int,
    shards: Sequence[WrittenShard],
    declarations: Mapping[str, str],
    *,
    relevance_curve: RelevanceCurve | None = None,
    extra: Mapping[str, bytes] | None = None,
    run: Run = run_here,
) -> ShardedManifest:
    """Pool shards and replace the manifest, in one step.

    - `folder`: of the sharded catalogue, locked.
    - `declarations`: of the columns that are decided.
    - `extra`: contents of further pooled files, by name.
    - `run`: takes the steps that read all products of a shard.

    Older generations than the one before are removed, unless they are used. Returns the new manifest.
    """
    catalogues = SavedShards([shard.folder for shard in shards])
    if len({(catalogue.fingerprint, catalogue.dim) for catalogue in catalogues}) > 1:
        raise CatalogueError(f"{folder}: expected shards of one model, found several")
    ordinals = [shard.ordinals for shard in shards]
    pooled = pool(catalogues, ordinals, declarations, run)
    with writing(folder):
        files = _write_pooled(folder / f"pooled.{generation}", pooled, ordinals, extra or {})
        records = tuple(
            ShardRecord(shard.folder.name, len(shard.ordinals), FileRecord.of(shard.folder / CATALOGUE_MANIFEST).sha256)
            for shard in shards
        )
        last = [int(shard.ordinals[-1]) for shard in shards if len(shard.ordinals)]
        manifest = ShardedManifest(
            generation=generation,
            fingerprint=catalogues[0].fingerprint,
            model=catalogues[0].model,
            dim=catalogues[0].dim,
            shards=records,
            kinds=pooled.kinds,
            declarations=pooled.declarations,
            word_columns=tuple(catalogues[0].contents.word_columns),
            words=pooled.words,
            statistics=pooled.statistics,
            relevance_curve=relevance_curve,
            next_ordinal=max(last, default=-1) + 1,
            files=files,
        )
        sync_folder(folder)
        before = read_manifest(folder) if (folder / MANIFEST).exists() else None
        # The copy says what belongs to this generation when another one is current.
        for path in (folder / manifest.pooled_folder / MANIFEST, folder / MANIFEST):
            with durable(path) as file:
                file.write(manifest.to_bytes())
        _remove_older(folder, manifest, before)
    return manifest


def clone_shard(old: Path, new: Path) -> None:
    """Make a folder with the files of a shard, without a copy where the file system has hard links.

    Files of a catalogue are never changed in place, so an edit of the new folder leaves the old one as it is.
    """
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    for path in sorted(old.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            os.link(path, new / path.name)
        except OSError:
            shutil.copyfile(path, new / path.name)


def _write_pooled(
    folder: Path, pooled: Pooled, ordinals: Sequence[Rows], extra: Mapping[str, bytes]
) -> dict[str, FileRecord]:
    """Write the pooled files; returns their records by name."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    files: dict[str, FileRecord] = {}
    for name, content in _pooled_contents(pooled, ordinals, extra):
        with durable(folder / name) as file:
            file.write(content)
        files[name] = FileRecord.of(folder / name)
    return files


def _pooled_contents(
    pooled: Pooled, ordinals: Sequence[Rows], extra: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """The names of the pooled files, and what they hold."""
    yield from extra.items()
    yield SAMPLE_FILE, _npy(pooled.sample)
    if pooled.words is not None:
        yield WORDS_FILE, _npz({"keys": pooled.word_keys, "counts": pooled.word_counts})
    numbers = {name: f"column{i}" for i, name in enumerate(pooled.kinds)}
    for shard, (of_shard, tables) in enumerate(zip(ordinals, pooled.quantiles, strict=True)):
        yield ordinals_name(shard), _npy(of_shard.astype(np.int64))
        yield quantiles_name(shard), _npz({numbers[name]: table for name, table in tables.items()})


def _remove_older(folder: Path, current: ShardedManifest, before: ShardedManifest | None) -> None:
    """Remove the folders that no generation names of the current one, the one before it, and those that are used."""
    generations = [current, *([before] if before else []), *_used_generations(folder)]
    names = {shard.folder for manifest in generations for shard in manifest.shards}
    names |= {manifest.pooled_folder for manifest in generations}
    for path in folder.iterdir():
        if is_ours(path.name) and path.name not in names:
            with suppress(OSError):
                shutil.rmtree(path)


def _used_generations(folder: Path) -> Iterator[ShardedManifest]:
    """The manifests of the generations that somebody uses."""
    for pooled_folder in folder.glob("pooled.*"):
        if is_used(pooled_folder):
            with suppress(CatalogueError):  # written before generations had a copy of their manifest
                yield read_manifest(pooled_folder)


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()
