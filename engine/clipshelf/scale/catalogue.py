"""A sharded catalogue: its manifest, and what is pooled over its shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.content_keys import Keys, id_keys
from clipshelf.errors import CatalogueError, FingerprintMismatch
from clipshelf.model.engine import Engine
from clipshelf.scale.manifest import WordCounts, read_manifest
from clipshelf.scale.opening import open_shard, read_ordinals
from clipshelf.scale.pooled_files import SAMPLE_FILE, PooledFile
from clipshelf.types import FloatArray, PathLike, Rows

WORDS_FILE = "words.npz"


class ShardedCatalogue:
    """Opens a sharded catalogue. Products stay in the shards.

    - `path`: its folder.

    It does not change. Raises CatalogueError naming the file, what was expected and what was found.
    """

    def __init__(self, path: PathLike) -> None:
        self.folder = Path(path).absolute()
        self.manifest = read_manifest(self.folder)
        self.sample = self._sample()
        self.words = self._words(self.manifest.words)

    def __len__(self) -> int:
        return self.manifest.products

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.manifest.generation)

    @property
    def shards(self) -> int:
        """S, the number of shards."""
        return len(self.manifest.shards)

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self.manifest.dim

    @property
    def fingerprint(self) -> str:
        """Of the model that embedded the products."""
        return self.manifest.fingerprint

    def shard(self, number: int) -> Catalogue:
        """Open the catalogue of one shard."""
        return open_shard(self.folder, self.manifest, number)

    def model_path(self) -> str | None:
        """The path of the model that embedded the products, None for the embedded default; raises CatalogueError."""
        return self.shard(0).model_path()

    def require(self, engine: Engine) -> None:
        """Raise FingerprintMismatch unless `engine` has the model that embedded the products."""
        if engine.fingerprint != self.fingerprint:
            raise FingerprintMismatch(
                f"expected the model that embedded the catalogue, fingerprint {self.fingerprint}, "
                f"found one with {engine.fingerprint}; index the products again with this model"
            )

    def ordinals(self, number: int) -> Rows:
        """The ordinals (n,) of the products of one shard."""
        return read_ordinals(self.folder, self.manifest, number)

    def _pooled(self, name: str) -> PooledFile:
        return PooledFile(self.folder / self.manifest.pooled_folder, name, self.manifest.files)

    def _sample(self) -> FloatArray:
        file = self._pooled(SAMPLE_FILE)
        sample: FloatArray = np.array(file.array("<f4", (None, 2 * self.dim)))
        if not np.isfinite(sample).all():
            raise CatalogueError(f"{file.path}: expected finite numbers, found others")
        return sample

    def _words(self, counts: WordCounts | None) -> PooledWords | None:
        if counts is None:
            return None
        file = self._pooled(WORDS_FILE)
        keys, having = file.member("keys", "<u8", (None,)), file.member("counts", "<i8", (None,))
        is_sorted = len(keys) == len(having) and not (keys[1:] <= keys[:-1]).any()
        if not is_sorted or (having < 0).any() or (having > counts.count).any():
            raise CatalogueError(f"{file.path}: expected tokens of {counts.count} products, found others")
        return PooledWords(counts, keys, having)


class PooledWords:
    """`clipshelf.catalogue.lexical.word_index.WordStatistics` of all shards.

    - `counts`: number and mean length of products.
    - `keys`: (V,) uint64 tokens, ascending; `having` (V,), how many products have each.
    """

    def __init__(self, counts: WordCounts, keys: np.ndarray[Any, np.dtype[np.uint64]], having: Rows) -> None:
        self.count, self.mean_length = counts.count, counts.mean_length
        self._keys, self._having = keys, having

    def having(self, keys: Sequence[int]) -> list[int]:
        """The numbers of products that have each of n tokens."""
        positions = [int(np.searchsorted(self._keys, np.uint64(key))) for key in keys]
        return [
            int(self._having[position]) if position < len(self._keys) and self._keys[position] == key else 0
            for key, position in zip(keys, positions, strict=True)
        ]


def shards_of_keys(keys: Keys, shards: int) -> Rows:
    """The (n,) shards of n products by the keys (n, 16) of their ids."""
    prefixes = np.ascontiguousarray(keys[:, :8]).view("<u8")[:, 0]
    return (prefixes % np.uint64(shards)).astype(np.int64)


def shards_of(ids: Sequence[str], shards: int) -> Rows:
    """The (n,) shards of n ids."""
    return shards_of_keys(id_keys(ids), shards)


def _reopen(folder: Path, generation: int) -> ShardedCatalogue:
    catalogue = ShardedCatalogue(folder)
    if catalogue.manifest.generation != generation:
        current = catalogue.manifest.generation
        raise CatalogueError(f"{folder}: expected generation {generation}, which was pickled, found {current}")
    return catalogue
