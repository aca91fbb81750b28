"""Opens the shards of a sharded catalogue, and checks that they are those that its manifest names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.disk.manifest import MANIFEST as CATALOGUE_MANIFEST
from clipshelf.errors import CatalogueError
from clipshelf.files import MANIFEST_BYTES, read_regular
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.pooled_files import PooledFile
from clipshelf.scale.pooling import ordinals_name
from clipshelf.types import Rows


def open_shard(folder: Path, manifest: ShardedManifest, number: int) -> Catalogue:
    """Open the catalogue of one shard.

    - `folder`, `manifest`: of the sharded catalogue.
    - `number`: of the shard, from 0.

    Raises CatalogueError unless it is the one that the manifest names.
    """
    record = manifest.shards[number]
    path = folder / record.folder
    try:
        sha256 = hashlib.sha256(read_regular(path / CATALOGUE_MANIFEST, MANIFEST_BYTES)).hexdigest()
    except OSError as error:
        raise CatalogueError(f"{path}: expected the catalogue of a shard, found: {error}") from error
    if sha256 != record.sha256:
        raise CatalogueError(f"{path}: expected a manifest of SHA-256 {record.sha256}, found {sha256}")
    catalogue = Catalogue.load(path)
    expected = (manifest.fingerprint, manifest.dim, record.products)
    of_shard = (catalogue.fingerprint, catalogue.dim, len(catalogue))
    if of_shard != expected:
        raise CatalogueError(f"{path}: expected the fingerprint, width and products {expected}, found {of_shard}")
    if tuple(catalogue.contents.word_columns) != tuple(manifest.word_columns):
        raise CatalogueError(f"{path}: expected the words of {manifest.word_columns}, found others")
    return catalogue


def read_ordinals(folder: Path, manifest: ShardedManifest, number: int) -> Rows:
    """The ordinals (n,) of the products of one shard, memory-mapped; the parameters are those of `open_shard`.

    Raises CatalogueError naming the file where these are not ascending and below the next one.
    """
    file = PooledFile(folder / manifest.pooled_folder, ordinals_name(number), manifest.files)
    ordinals: Rows = file.array("<i8", (manifest.shards[number].products,))
    is_sorted = not (ordinals[1:] <= ordinals[:-1]).any()
    if len(ordinals) and not (is_sorted and ordinals[0] >= 0 and ordinals[-1] < manifest.next_ordinal):
        raise CatalogueError(f"{file.path}: expected ascending numbers below {manifest.next_ordinal}, found others")
    return ordinals
