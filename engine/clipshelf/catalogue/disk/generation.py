"""One saved state of a catalogue, a generation. Its files are written once, beside those of the generation before.

    manifest.json             names the files of the current generation; replaced in one step
    embeddings.<gen>.npy      float32 (N, 2D): image rows | text rows; zeros where a product lacks that side
    keys.<gen>.npy            uint8 (N, 3, 16): keys of id, picture and text, as in `content_keys`
    ids.<gen>.json            a list of N ids
    products.<gen>.jsonl      one product record per line, in the order of the rows
    statistics.<gen>.json     means and spreads of the embeddings, as in `statistics`
    offsets.<gen>.npy         int64 (N + 1,): where each line of products starts, and the end
    column<i>.<gen>.npy       codes of the i-th column, for a column of lists its rows, as in `columns`
    column<i>-values.<gen>.json   its values and, for a column of lists, its starts
    blocks.<gen>.npy          uint32: CRC-32 of each 64 KiB of the files above, in the manifest's order
    journal.<fingerprint>     what an interrupted `clipshelf index` has embedded, as in `journal`
    .lock                     locked while a process writes to the folder

Opening a generation compares the manifest with its own SHA-256, the block checksums with theirs, the size of every
file, and the content of files up to 16 MiB. The content of larger files is compared when it is first used: a product
record when it is read, the matrix as a whole when it is first needed. So no answer comes from bytes that were not
compared since the catalogue was opened. Changes after that, in memory or on disk, are not noticed. `verify` compares
the SHA-256 of every file, and the files with each other. `docs/design-notes/catalogue.md` has what this costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.columns import Column
from clipshelf.catalogue.content_keys import KEY_SIZE, Keys
from clipshelf.catalogue.contents import checked_rows
from clipshelf.catalogue.disk.checksummed import BLOCK, BlockReader, Sums
from clipshelf.catalogue.disk.manifest import MANIFEST, CatalogueManifest, read_manifest
from clipshelf.catalogue.kinds import Kind
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord
from clipshelf.types import FloatArray, Product, Rows

# Files up to this size in bytes are compared when a generation is opened.
_COMPARED_ON_OPEN = 1 << 24
# Records that an iteration parses at a time.
_RECORDS_PARSED = 1 << 10


class ProductLines(Sequence[Product]):
    """The N product records of a JSON Lines file, parsed each time that they are read.

    - `lines`: the file.
    - `offsets`: (N + 1,) int64, where each line starts, and the end.
    """

    def __init__(self, lines: BlockReader, offsets: npt.NDArray[np.int64]) -> None:
        self._lines = lines
        self._starts = offsets[:-1]
        self._stops = offsets[1:]

    def __len__(self) -> int:
        return len(self._starts)

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Parse the records of n rows, in the order of `rows`; raises InputError for a row that is not there."""
        listed = checked_rows(rows, len(self))
        lines = self._lines.slices(self._starts[listed].tolist(), self._stops[listed].tolist())
        # One array for all: the parser is called once, and each field's name is one string in all records.
        records: list[Product] = json.loads(b"[%b]" % b",".join(lines))
        return records

    @overload
    def __getitem__(self, index: int) -> Product: ...
    @overload
    def __getitem__(self, index: slice) -> list[Product]: ...
    def __getitem__(self, index: int | slice) -> Product | list[Product]:
        rows = range(len(self))[index]
        return self.records([rows])[0] if isinstance(rows, int) else self.records(rows)

    def __iter__(self) -> Iterator[Product]:
        for start in range(0, len(self), _RECORDS_PARSED):
            yield from self.records(range(start, min(start + _RECORDS_PARSED, len(self))))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Generation:
    """`Contents` on disk: an opened generation, whose files are mapped and stay so when a later one replaces it.

    - `folder`: the catalogue's folder.
    - `manifest`: names the generation's files.

    Opening raises CatalogueError, or OSError, for files that are not as the manifest says. Every other method raises
    CatalogueError naming the file when its content is not as it was written.

    A generation is pickled as its folder and its manifest, and opened again where it is unpickled; that raises
    CatalogueError if the folder has another generation by then. A copy of it is itself, for it does not change.
    """

    def __init__(self, folder: Path, manifest: CatalogueManifest) -> None:
        self.folder = folder = folder.resolve()
        self.manifest = manifest
        self._columns: dict[str, Column] = {}
        names = [name for name in manifest.files if not name.startswith("blocks.")]
        sums = _read_block_sums(folder, manifest)
        ends = np.cumsum([-(-manifest.files[name].bytes // BLOCK) for name in names])
        if len(sums) != (ends[-1] if names else 0):
            raise CatalogueError(f"{folder}: expected checksums of {ends[-1]} blocks, found {len(sums)}")
        self.readers = {
            name.split(".")[0]: BlockReader(folder / name, manifest.files[name].bytes, file_sums)
            for name, file_sums in zip(names, np.split(sums, ends[:-1]), strict=True)
        }
        for reader in self.readers.values():
            if manifest.files[reader.path.name].bytes <= _COMPARED_ON_OPEN:
                reader.whole()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.manifest)

    def __copy__(self) -> Generation:
        return self

    def __deepcopy__(self, memo: object) -> Generation:
        return self

    @classmethod
    def open(cls, folder: Path) -> Generation:
        """Open the current generation of a catalogue's folder.

        Raises CatalogueError naming the file, what was expected and what was found.
        """
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
        """D, the width of one side."""
        return self.manifest.dim

    @cached_property
    def ids(self) -> list[str]:
        """N ids."""
        ids = self._json("ids")
        if not isinstance(ids, list) or len(ids) != self.manifest.products:
            raise CatalogueError(f"{self._path('ids')}: expected a list of {self.manifest.products} ids, found another")
        return ids

    @cached_property
    def products(self) -> ProductLines:
        """N records, parsed each time that they are read."""
        offsets = self._reader("offsets").array(["<i8"], (self.manifest.products + 1,))
        # A plain array, for an index into a memory map costs several times as much.
        return ProductLines(self._reader("products"), np.asarray(offsets))

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Parse the records of n rows, in the order of `rows`; raises InputError for a row that is not there."""
        return self.products.records(rows)

    @cached_property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, memory-mapped."""
        return self._reader("embeddings").array(["<f4"], (self.manifest.products, 2 * self.manifest.dim))

    @cached_property
    def keys(self) -> Keys:
        """(N, 3, 16) uint8, memory-mapped."""
        return self._reader("keys").array([np.uint8], (self.manifest.products, 3, KEY_SIZE))

    @cached_property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        try:
            return Statistics.from_dict(self._json("statistics"), self.dim)
        except CatalogueError as error:
            raise CatalogueError(f"{self._path('statistics')}: {error}") from error

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each column by name."""
        return self.manifest.columns

    def column(self, name: str) -> Column:
        """Open the column `name`, which is not of the kind mixed."""
        if name not in self._columns:
            kind, role = self.kinds[name], f"column{list(self.kinds).index(name)}"
            is_list = kind in ("numbers", "texts")
            count = None if is_list else self.manifest.products
            array = np.asarray(self._reader(role).array(["|i1", "<i2", "<i4", "<i8"], (count,)))
            table = self._json(f"{role}-values")
            self._columns[name] = (
                Column(kind, table["values"], rows=array, starts=table["starts"])
                if is_list
                else Column(kind, table["values"], codes=array)
            )
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


def _reopen(folder: Path, manifest: CatalogueManifest) -> Generation:
    """Open a generation that was pickled; raises CatalogueError if the folder has another one now."""
    generation = Generation.open(folder)
    if generation.manifest != manifest:
        pickled, found = (
            f"generation {each.generation} of the model {each.fingerprint}" for each in (manifest, generation.manifest)
        )
        found = f"another {found}" if found == pickled else found
        raise CatalogueError(
            f"{folder}: expected {pickled}, which was pickled, found {found}; load the catalogue again"
        )
    return generation


def _read_block_sums(folder: Path, manifest: CatalogueManifest) -> Sums:
    """(blocks,) uint32 checksums of all blocks, themselves compared with the manifest."""
    name = manifest.name("blocks")
    found = FileRecord.of(folder / name)
    if found != manifest.files[name]:
        raise CatalogueError(f"{folder / name}: expected {manifest.files[name]}, found {found}")
    sums: Sums = np.load(folder / name, allow_pickle=False)
    return sums
