"""One state of a catalogue on disk. A generation's files are written once, beside those of the one before.

    manifest.json             names the files of the generation that counts; replaced in one step
    embeddings.<gen>.npy      float32 (N, 2D): image rows | text rows; zeros where a product lacks that side
    keys.<gen>.npy            uint8 (N, 3, 16): keys of id, picture and text, as in `keys`
    ids.<gen>.json            a list of N ids
    products.<gen>.jsonl      one product record per line, in the order of the rows
    statistics.<gen>.json     means and spreads of the embeddings, as in `statistics`
    offsets.<gen>.npy         int64 (N + 1,): where each line starts, and the end
    column<i>.<gen>.npy       places of the i-th column, as in `columns`
    column<i>-values.<gen>.json   its values, and its starts where it is one of lists
    blocks.<gen>.npy          uint32: CRC-32 of each 64 KiB of the files above, in the manifest's order
    journal.<fingerprint>     what an interrupted `clipshelf index` has embedded, as in `journal`
    .lock                     locked by the one writer

What is checked when. **Opening** compares the manifest with its own SHA-256, the block checksums with theirs, and the
size of every file; and, block by block, the content of files up to 16 MiB. The content of **larger files** is compared
when it is first used: a product record when it is read, the matrix as a whole when it is first asked for, which takes
about a second for a million products of 2 x 512. So nothing is answered from bytes that were not compared since the
catalogue was opened; what happens to them afterwards, in memory or on disk, isn't seen. **verify** compares the
SHA-256 of everything and what the files say of each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.columns import Column
from clipshelf.catalogue.content_keys import SIZE, Keys
from clipshelf.catalogue.disk.checksummed import BLOCK, BlockReader, Sums
from clipshelf.catalogue.disk.manifest import MANIFEST, CatalogueManifest, read_manifest
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord
from clipshelf.types import FloatArray, Product

# Files up to this size are compared when a catalogue is opened: all of them together take some ten milliseconds.
_AT_ONCE = 1 << 24


class Content(Protocol):
    """What a generation holds, on disk or in memory: N products in the order of their rows."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """D."""

    @property
    def ids(self) -> list[str]:
        """Their ids."""

    @property
    def products(self) -> Sequence[Product]:
        """Their records."""

    @property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, image rows | text rows."""

    @property
    def keys(self) -> Keys:
        """(N, 3, 16) uint8 keys of id, picture and text."""

    @property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""

    @property
    def kinds(self) -> Mapping[str, Any]:
        """The columns' kinds by name."""

    def column(self, name: str) -> Column:
        """One of the columns that are not mixed."""


class Lines(Sequence[Product]):
    """Product records in a JSON Lines file, parsed when one is asked for."""

    def __init__(self, lines: BlockReader, offsets: npt.NDArray[np.int64]) -> None:
        self._lines = lines
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Product: ...
    @overload
    def __getitem__(self, index: slice) -> list[Product]: ...
    def __getitem__(self, index: int | slice) -> Product | list[Product]:
        if isinstance(index, slice):
            return [self[row] for row in range(len(self))[index]]
        row = range(len(self))[index]
        line = self._lines.bytes(int(self._offsets[row]), int(self._offsets[row + 1]))
        product: Product = json.loads(line)
        return product

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Generation:
    """An opened generation: a `Content` whose files are mapped, and stay so when a later one replaces it."""

    def __init__(self, folder: Path, manifest: CatalogueManifest) -> None:
        self.folder = folder = folder.resolve()
        self.manifest = manifest
        self._columns: dict[str, Column] = {}
        names = [name for name in manifest.files if not name.startswith("blocks.")]
        sums = _read_blocks(folder, manifest)
        ends = np.cumsum([-(-manifest.files[name].bytes // BLOCK) for name in names])
        if len(sums) != (ends[-1] if names else 0):
            raise CatalogueError(f"{folder}: expected checksums of {ends[-1]} blocks, found {len(sums)}")
        self.readers = {
            name.split(".")[0]: BlockReader(folder / name, manifest.files[name].bytes, own)
            for name, own in zip(names, np.split(sums, ends[:-1]), strict=True)
        }
        for reader in self.readers.values():
            if manifest.files[reader.path.name].bytes <= _AT_ONCE:
                reader.whole()

    @classmethod
    def open(cls, folder: Path) -> Generation:
        """Open the generation that counts; raises CatalogueError naming the file, what was expected and found."""
        while True:
            manifest = read_manifest(folder)
            try:
                return cls(folder, manifest)
            except (OSError, CatalogueError) as error:
                # A writer may have replaced the generation since its manifest was read.
                if read_manifest(folder).generation == manifest.generation:
                    if isinstance(error, CatalogueError):
                        raise
                    raise CatalogueError(f"{folder}: expected the files of its {MANIFEST}, found: {error}") from error

    def __len__(self) -> int:
        return self.manifest.products

    @property
    def dim(self) -> int:
        """D."""
        return self.manifest.dim

    @cached_property
    def ids(self) -> list[str]:
        """The products' ids."""
        ids = self._json("ids")
        if not isinstance(ids, list) or len(ids) != self.manifest.products:
            raise CatalogueError(f"{self._path('ids')}: expected a list of {self.manifest.products} ids, found another")
        return ids

    @cached_property
    def products(self) -> Lines:
        """The products' records."""
        return Lines(self._reader("products"), self._reader("offsets").array(["<i8"], (self.manifest.products + 1,)))

    @cached_property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, memory-mapped."""
        return self._reader("embeddings").array(["<f4"], (self.manifest.products, 2 * self.manifest.dim))

    @cached_property
    def keys(self) -> Keys:
        """(N, 3, 16) uint8, memory-mapped."""
        return self._reader("keys").array([np.uint8], (self.manifest.products, 3, SIZE))

    @cached_property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        try:
            return Statistics.from_dict(self._json("statistics"), self.dim)
        except CatalogueError as error:
            raise CatalogueError(f"{self._path('statistics')}: {error}") from error

    @property
    def kinds(self) -> Mapping[str, Any]:
        """The columns' kinds by name."""
        return self.manifest.columns

    def column(self, name: str) -> Column:
        """One of the columns that are not mixed."""
        if name not in self._columns:
            kind, role = self.kinds[name], f"column{list(self.kinds).index(name)}"
            count = None if kind in ("numbers", "texts") else self.manifest.products
            places = self._reader(role).array(["|i1", "<i2", "<i4", "<i8"], (count,))
            table = self._json(f"{role}-values")
            self._columns[name] = Column(kind, np.asarray(places), table["values"], table["starts"])
        return self._columns[name]

    def _reader(self, role: str) -> BlockReader:
        self.manifest.name(role)
        return self.readers[role]

    def _path(self, role: str) -> Path:
        return self.folder / self.manifest.name(role)

    def _json(self, role: str) -> Any:
        try:
            return json.loads(self._reader(role).whole().tobytes())
        except ValueError as error:
            raise CatalogueError(f"{self._path(role)}: expected JSON, found: {error}") from error


def _read_blocks(folder: Path, manifest: CatalogueManifest) -> Sums:
    """The checksums of all blocks, themselves compared with the manifest."""
    name = manifest.name("blocks")
    found = FileRecord.of(folder / name)
    if found != manifest.files[name]:
        raise CatalogueError(f"{folder / name}: expected {manifest.files[name]}, found {found}")
    sums: Sums = np.load(folder / name, allow_pickle=False)
    return sums
