"""The source of a sharded catalogue in pieces that are read apart: files, and parts of large ones.

The source is on any file system of pyarrow: a path of this machine, or a URI such as `s3://bucket/products/`. The
address of an S3-compatible store goes into the URI: `s3://bucket/products?endpoint_override=http%3A%2F%2Fhost%3A9000`.
"""

from __future__ import annotations

import importlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.file_parts import FilePart, cut_file
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, SUFFIXES, ProductFields
from clipshelf.catalogue.reading.source import Part
from clipshelf.errors import InputError, MissingExtra
from clipshelf.failures import Failure

# Of a piece of a larger file. To read a piece takes some ten times its bytes of memory.
PIECE_BYTES = 1 << 25
_ROWS, _MOST_ROWS = 1024, 65_536  # of a piece of a Parquet file, the first a divisor of all but the last
_BUFFER_BYTES = 1 << 20
_CUT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    - `source`: the URI or path that the file system is made from.
    - `path`: of the file, on that file system.
    - `bytes`: its size.
    - `stamp`: changes when the file does.
    """

    source: str
    path: str
    bytes: int
    stamp: str

    @property
    def is_local(self) -> bool:
        """Whether the file is on a file system of this machine."""
        return is_local(self.source)

    @property
    def folder(self) -> str:
        """The folder of the file, that relative paths of its pictures start from."""
        return str(PurePosixPath(self.path).parent)

    def address(self, path: str) -> str:
        """The address of a path of the file system: a path of a file, or a URI."""
        scheme = self.source.partition("://")[0]
        return path if self.is_local or scheme == "file" else f"{scheme}://{path}"


@dataclass(frozen=True)
class Piece:
    """A part of a source that is read at once.

    - `file`: that it is of.
    - `row_group`, `rows`: of a Parquet file, the row group and its rows from one to another, and `records` before them.
    - `part`: of a file of text that is cut.
    """

    file: SourceFile
    row_group: int | None = None
    rows: tuple[int, int] = (0, 0)
    records: int = 0
    part: FilePart | None = None


def files_of(source: str) -> list[SourceFile]:
    """The files of a source, in order.

    - `source`: a file, or a folder whose files of products are taken in the order of their paths, as a path or URI.

    Raises InputError where there is none.
    """
    system, path = file_system(source)
    fs = importlib.import_module("pyarrow.fs")
    try:
        info = system.get_file_info(path)
        files = [info]
        if info.type == fs.FileType.Directory:
            below = system.get_file_info(fs.FileSelector(path, recursive=True))
            files = sorted((file for file in below if file.path.lower().endswith(SUFFIXES)), key=lambda file: file.path)
    except OSError as error:
        raise InputError(f"{source}: expected a file or a folder, found: {error}") from error
    if not files or files[0].type != fs.FileType.File:
        raise InputError(f"{source}: expected a file of products, or a folder of such, found none")
    return [SourceFile(source, file.path, file.size, f"{file.size} {file.mtime_ns}") for file in files]


def cut(file: SourceFile, fields: ProductFields) -> list[Piece]:
    """The pieces of a file, in order: of a Parquet file by its metadata, of a large file of text by reading it once.

    Raises InputError for a Parquet file that cannot be read.
    """
    if file.path.lower().endswith(".parquet"):
        return _cut_parquet(file)
    parts: list[FilePart] = []
    if file.bytes > PIECE_BYTES and file.path.lower().endswith(_CUT_SUFFIXES):
        system, _ = file_system(file.source)
        with _reading(file), system.open_input_stream(file.path, compression=None) as stream:
            parts = cut_file(io.BufferedReader(stream, _BUFFER_BYTES), file.path, fields, PIECE_BYTES)
    return [Piece(file, part=part) for part in parts] or [Piece(file)]


def pieces_of(source: str, fields: ProductFields = DEFAULT_FIELDS) -> list[Piece]:
    """The pieces of all files of a source, in order; raises InputError as `files_of` and `cut` do."""
    return [piece for file in files_of(source) for piece in cut(file, fields)]


def root_of(source: str) -> Path:
    """The folder of a source: itself, or that of its file. Raises InputError."""
    system, path = file_system(source)
    fs = importlib.import_module("pyarrow.fs")
    is_folder = system.get_file_info(path).type == fs.FileType.Directory
    return Path(path) if is_folder else Path(path).parent


def read_piece(
    piece: Piece,
    fields: ProductFields,
    on_error: Callable[[Failure], object],
    declarations: Mapping[str, str] | None = None,
    *,
    convert: bool = True,
) -> ProductBatch:
    """Read and check the products of a piece, with repeats, as `read_products` does; each must have an id."""
    file = piece.file
    name = file.address(file.path)
    part = Part(name, records=piece.records)
    if piece.part is not None:
        part = Part(name, piece.part.names, piece.part.records, piece.part.lines)
        fields = replace(fields, encoding="utf-8")
    read = partial(
        read_products, fields=fields, ids_required=True, declarations=declarations, convert=convert, part=part
    )
    if piece.row_group is not None:
        batch = read(_read_parquet(piece), on_error=on_error)
    elif file.is_local and piece.part is None:
        batch = read(file.path, on_error=on_error)
    else:
        with tempfile.TemporaryDirectory(prefix="clipshelf-") as folder:
            copy = Path(folder, PurePosixPath(file.path).name)
            _copy(piece, copy)

            def report(failure: Failure) -> None:
                on_error(replace(failure, reason=failure.reason.replace(str(copy), name)))

            try:
                batch = read(copy, on_error=report)
            except InputError as error:
                raise InputError(str(error).replace(str(copy), name)) from error
    return replace(batch, root=Path(file.folder))


def file_system(source: str) -> tuple[Any, str]:
    """A file system of pyarrow, and the path on it, of a URI or a path; raises InputError, MissingExtra."""
    try:
        fs = importlib.import_module("pyarrow.fs")
    except ImportError:
        raise MissingExtra('sources need pyarrow: pip install "clipshelf[scale]"') from None
    if is_local(source):
        return fs.LocalFileSystem(), str(Path(source).absolute())
    try:
        system, path = fs.FileSystem.from_uri(source)
    except (ValueError, OSError) as error:
        raise InputError(f"{source}: expected a path, or a URI that pyarrow knows, found: {error}") from error
    return system, path


def is_local(source: str) -> bool:
    """Whether a source is a path, and no URI."""
    return "://" not in source


def _copy(piece: Piece, copy: Path) -> None:
    """Write what is read of a file of text to another one."""
    ranges = [(0, piece.file.bytes)]
    if piece.part is not None:
        ranges = [(0, piece.part.header), (piece.part.start, piece.part.stop)]
    system, _ = file_system(piece.file.source)
    with _reading(piece.file), system.open_input_file(piece.file.path) as stream, copy.open("wb") as target:
        for start, stop in ranges:
            stream.seek(start)
            for position in range(start, stop, _BUFFER_BYTES):
                target.write(stream.read(min(_BUFFER_BYTES, stop - position)))


@contextmanager
def _reading(file: SourceFile) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except OSError as error:
        name = file.address(file.path)
        raise InputError(f"{name}: expected a file that can be read, found: {error}") from error


def _cut_parquet(file: SourceFile) -> list[Piece]:
    """A piece for each row group, several for one of many bytes."""
    metadata = _open_parquet(file).metadata
    pieces, records = [], 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        rows = PIECE_BYTES * group.num_rows // max(1, group.total_byte_size)
        # Values that occur again take few bytes in the file.
        rows = max(_ROWS, min(rows, _MOST_ROWS) // _ROWS * _ROWS)
        for start in range(0, group.num_rows, rows):
            stop = min(start + rows, group.num_rows)
            pieces.append(Piece(file, number, (start, stop), records))
            records += stop - start
    return pieces or [Piece(file, 0)]


def _read_parquet(piece: Piece) -> Any:
    """The rows of a piece as a table of pyarrow."""
    arrow, parquet = importlib.import_module("pyarrow"), _open_parquet(piece.file)
    start, stop = piece.rows
    if start == stop:
        return parquet.schema_arrow.empty_table()
    batches, first = [], 0
    with _reading(piece.file):
        for batch in parquet.iter_batches(_ROWS, row_groups=[piece.row_group]):
            if first + len(batch) > start:
                batches.append(batch.slice(max(0, start - first), stop - max(start, first)))
            first += len(batch)
            if first >= stop:
                break
    return arrow.Table.from_batches(batches)


def _open_parquet(file: SourceFile) -> Any:
    parquet, arrow = (importlib.import_module(name) for name in ("pyarrow.parquet", "pyarrow"))
    system, _ = file_system(file.source)
    try:
        return parquet.ParquetFile(system.open_input_file(file.path))
    except (OSError, arrow.ArrowException) as error:
        raise InputError(f"{file.address(file.path)}: expected a Parquet file, found: {error}") from error
