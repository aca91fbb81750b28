"""One saved state of a catalogue, a generation. Its files are written once, beside those of the generation before.

    manifest.json             names the files of the current generation; replaced in one step
    embeddings.<gen>.npy      float32 (N, 2D): image rows | text rows; zeros where a product lacks that side
    keys.<gen>.npy            uint8 (N, 3, 16): keys of id, picture and text, as in `content_keys`
    ids.<gen>.json            a list of N ids
    products.<gen>.jsonl      one product record per line, in the order of the rows
    statistics.<gen>.json     means and spreads of the embeddings, as in `statistics`
    offsets.<gen>.npy         int64 (N + 1,): where each line of products starts, and the end
    columns.<gen>.bin         the columns, and
    column-offsets.<gen>.npy  where each of them starts and ends, as in `column_files`
    words-*.<gen>.npy         the index of words where there is one, as in `word_files`
    parts-*.<gen>.npy         pictures and texts of products that have several, as in `part_files`
    blocks.<gen>.npy          uint32: CRC-32 of each 64 KiB of the files above, in the manifest's order
    journal.<fingerprint>     what an interrupted `clipshelf index` has embedded, as in `journal`
    reembed-*.<fingerprint>   what an unfinished `clipshelf reembed` has embedded, as in `reembedding`
    .lock                     locked while a process writes to the folder
    .reembed-lock             locked while a process embeds the products with another model

A folder may hold two more generations, which the manifest has within it: one that `reembed` prepared with another
model, and the one before the last switch of models. They share the files in which they do not differ.

Opening a generation compares the manifest with its own SHA-256, the block checksums with theirs, the size of every
file, and the content of files up to 16 MiB. The content of larger files is compared when it is first used: a product
record when it is read, the matrix as a whole when it is first needed. So no answer comes from bytes that were not
compared since the catalogue was opened. Changes after that, in memory or on disk, are not noticed. `verify` compares
the SHA-256 of every file, and the files with each other. `docs/design-notes/catalogue.md` has what this costs.

Checksums guard against accidents. A folder that somebody else made may hold anything under the right checksums, so
that all content is also checked for its types, shapes and ranges when it is used.

The format is 1. Catalogues of earlier releases have their columns in other files, and no `relative_model`,
`relative_root` and `declarations` in the manifest; they are read, and a save writes them anew. An engine of an earlier
release reads all of a new catalogue but its columns, and says so when a filter asks for one. It refuses the records of
products that have several pictures or texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.catalogue.content_keys import KEY_SIZE, Keys
from clipshelf.catalogue.disk.checksummed import BLOCK, BlockReader, Sums, npy_array
from clipshelf.catalogue.disk.column_files import is_old_column, read_column
from clipshelf.catalogue.disk.manifest import MANIFEST, CatalogueManifest, Part, read_part
from clipshelf.catalogue.disk.part_files import read_parts
from clipshelf.catalogue.disk.product_lines import ProductLines
from clipshelf.catalogue.disk.word_files import read_words
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import Statistics
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.catalogue.typed_columns.kinds import Declaration, Kind
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord, open_regular
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, Product, Rows
from clipshelf.workers import Workers

# Files up to this size in bytes are compared when a generation is opened.
_COMPARED_ON_OPEN = 1 << 24
# Rows of the matrix that are summed at a time.
_ROWS_SUMMED = 1 << 13


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
        self.readers = {}
        for name, file_sums in zip(names, np.split(sums, ends[:-1]), strict=True):
            role, size = name.split(".")[0], manifest.files[name].bytes
            mapped = size > _COMPARED_ON_OPEN or not is_old_column(role)
            self.readers[role] = BlockReader(folder / name, size, file_sums, mapped=mapped)
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
    def open(cls, folder: Path, part: Part = "current") -> Generation:
        """Open the current generation of a catalogue's folder, or the one beside it that `part` names.

        Raises CatalogueError naming the file, what was expected and what was found.
        """
        while True:
            manifest = read_part(folder, part)
            try:
                return cls(folder, manifest)
            except (OSError, CatalogueError) as error:
                # A writer may have replaced the generation since its manifest was read.
                if read_part(folder, part).generation == manifest.generation:
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
        if not isinstance(ids, list) or len(ids) != self.manifest.products or not _are_texts(ids):
            raise CatalogueError(f"{self._path('ids')}: expected a list of {self.manifest.products} ids, found another")
        return ids

    @cached_property
    def products(self) -> ProductLines:
        """N records, parsed each time that they are read."""
        # A plain array, for an index into a memory map costs several times as much.
        offsets = np.asarray(self._reader("offsets").array(["<i8"], (self.manifest.products + 1,)))
        lines = self._reader("products")
        if offsets[0] != 0 or offsets[-1] != lines.size or (offsets[1:] <= offsets[:-1]).any():
            raise CatalogueError(f"{self._path('offsets')}: expected starts of lines in ascending order, found others")
        return ProductLines(lines, offsets)

    def records(self, rows: Rows | Sequence[int]) -> list[Product]:
        """Parse the records of n rows, in the order of `rows`; raises InputError for a row that is not there."""
        return self.products.records(rows)

    @cached_property
    def embeddings(self) -> FloatArray:
        """(N, 2D) float32, memory-mapped, of finite numbers."""
        matrix = self._reader("embeddings").array(["<f4"], (self.manifest.products, 2 * self.manifest.dim))
        for start in _rows_not_finite(matrix):
            raise CatalogueError(
                f"{self._path('embeddings')}: expected finite numbers, found others from row {start} on"
            )
        return matrix

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

    @property
    def declarations(self) -> Mapping[str, Declaration]:
        """What `columns_of` takes to convert later values of each column alike; an older catalogue has its kinds."""
        kinds = {name: kind for name, kind in self.kinds.items() if kind != "mixed"}
        return {**kinds, **self.manifest.declarations}

    def column(self, name: str) -> Column:
        """Open the column `name`, which is not of the kind mixed."""
        if name not in self._columns:
            self._columns[name] = read_column(self.readers, self.kinds, name, len(self))
        return self._columns[name]

    @property
    def word_columns(self) -> Sequence[str]:
        """The fields whose words are indexed."""
        return self.manifest.word_columns

    @cached_property
    def words(self) -> WordIndex | None:
        """The index of these words, memory-mapped; None without such fields."""
        return read_words(self.readers, len(self)) if self.word_columns else None

    @cached_property
    def parts(self) -> SideParts:
        """The parts of sides that have several, memory-mapped."""
        return read_parts(self.readers, len(self), self.dim, self.manifest.falloff)

    def _reader(self, role: str) -> BlockReader:
        self.manifest.name(role)
        return self.readers[role]

    def _path(self, role: str) -> Path:
        return self.folder / self.manifest.name(role)

    def _json(self, role: str) -> Any:
        try:
            return json.loads(self._reader(role).whole().tobytes())
        except (ValueError, RecursionError) as error:
            raise CatalogueError(f"{self._path(role)}: expected JSON, found: {error}") from error


def _rows_not_finite(matrix: FloatArray) -> list[int]:
    """Where parts of an (N, 2D) matrix of unit rows start that hold an infinity or NaN; their sums then have it too."""
    starts = range(0, len(matrix), _ROWS_SUMMED)
    sums = Workers(available_cpus()).map(lambda start: _sum(matrix[start : start + _ROWS_SUMMED]), starts)
    return [start for start, total in zip(starts, sums, strict=True) if not np.isfinite(total)]


def _sum(rows: FloatArray) -> np.float32:
    with np.errstate(all="ignore"):
        return rows.sum(dtype=np.float32)  # type: ignore[no-any-return]


def _are_texts(ids: list[Any]) -> bool:
    """Whether all items are strings that UTF-8 can encode."""
    try:
        "".join(ids).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True


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
    path, record = folder / name, manifest.files[name]
    with open_regular(path) as file:
        content = file.read()
    found = FileRecord(len(content), hashlib.sha256(content).hexdigest())
    if found != record:
        raise CatalogueError(f"{path}: expected {record}, found {found}")
    return npy_array(path, np.frombuffer(content, np.uint8), ["<u4"], (None,))
