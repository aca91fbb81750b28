"""The source of a sharded catalogue in pieces that are read apart: files of a folder, row groups of Parquet files.

The source is on any file system of pyarrow: a path of this machine, or a URI such as `s3://bucket/products/`. The
address of an S3-compatible store goes into the URI: `s3://bucket/products?endpoint_override=http%3A%2F%2Fhost%3A9000`.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.readers import SUFFIXES, ProductFields
from clipshelf.errors import InputError, MissingExtra
from clipshelf.failures import OnError


@dataclass(frozen=True)
class Piece:
    """A part of a source that is read at once.

    - `source`: the URI or path that the file system is made from.
    - `path`: of the file, on that file system.
    - `row_group`: of a Parquet file, None for a whole file.
    - `stamp`: changes when the file does.
    """

    source: str
    path: str
    row_group: int | None
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
        """The address of a path of the piece's file system: a path of a file, or a URI."""
        scheme = self.source.partition("://")[0]
        return path if self.is_local or scheme == "file" else f"{scheme}://{path}"


def pieces_of(source: str) -> list[Piece]:
    """The pieces of a source, in order.

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
    pieces: list[Piece] = []
    for file in files:
        whole = Piece(source, file.path, None, f"{file.size} {file.mtime_ns}")
        groups: Sequence[int | None] = [None]
        if file.path.lower().endswith(".parquet"):
            groups = range(max(1, _parquet(system, whole).num_row_groups))
        pieces += [replace(whole, row_group=group) for group in groups]
    return pieces


def read_piece(
    piece: Piece,
    fields: ProductFields,
    on_error: OnError,
    declarations: Mapping[str, str] | None = None,
    *,
    convert: bool = True,
) -> ProductBatch:
    """Read and check the products of a piece, with repeats, as `read_products` does; each must have an id."""
    system, _ = file_system(piece.source)
    root = Path(piece.folder)
    options: dict[str, Any] = {"fields": fields, "on_error": on_error, "ids_required": True, "is_part": True}
    if piece.row_group is not None:
        parquet = _parquet(system, piece)
        table = parquet.read_row_group(piece.row_group) if parquet.num_row_groups else parquet.read()
        batch = read_products(table, declarations=declarations, convert=convert, **options)
    elif piece.is_local:
        batch = read_products(piece.path, declarations=declarations, convert=convert, **options)
    else:
        with tempfile.TemporaryDirectory(prefix="clipshelf-") as folder, system.open_input_stream(piece.path) as stream:
            copy = Path(folder, PurePosixPath(piece.path).name)
            with copy.open("wb") as file:
                while chunk := stream.read(1 << 20):
                    file.write(chunk)
            address = piece.address(piece.path)
            try:
                batch = read_products(copy, declarations=declarations, convert=convert, name=address, **options)
            except InputError as error:
                raise InputError(str(error).replace(str(copy), address)) from error
    return replace(batch, root=root)


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


def _parquet(system: Any, piece: Piece) -> Any:
    parquet, arrow = (importlib.import_module(name) for name in ("pyarrow.parquet", "pyarrow"))
    try:
        return parquet.ParquetFile(system.open_input_file(piece.path))
    except (OSError, arrow.ArrowException) as error:
        raise InputError(f"{piece.address(piece.path)}: expected a Parquet file, found: {error}") from error
