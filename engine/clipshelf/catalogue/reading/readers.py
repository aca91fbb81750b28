"""Reads products from files and tables: CSV, JSON, Parquet, pandas, polars, pyarrow, or any iterable of dicts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.reading.csv_reader import read_csv
from clipshelf.catalogue.reading.frames import read_memory, read_parquet
from clipshelf.catalogue.reading.json_reader import read_json, read_json_lines
from clipshelf.catalogue.reading.source import WHOLE, Part, Source
from clipshelf.catalogue.side_parts import check_falloff
from clipshelf.catalogue.typed_columns.kinds import Declaration, check_declarations
from clipshelf.errors import InputError
from clipshelf.types import PathLike

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet", ".tsv", ".tab", ".txt", ".json")


@dataclass(frozen=True)
class ProductFields:
    """How the columns of a source are read.

    - `id`: the column of ids; a product without one gets its position in the source.
    - `text`, `image`: the column of texts, and that of pictures, or several of them in order. A product may also have a
      list in one column.
    - `text_separator`, `image_separator`: what stands between several texts, or pictures, in one cell; None where a
      cell has one.
    - `falloff`: how much each further text or picture of a product counts beside the one before it, above 0; 1 where
      all count the same. None for that of the catalogue, which is 0.7 unless it was made with another one.
    - `columns`: declarations of further columns by name, see `kinds`; the kinds of others are inferred.
    - `words`: the columns whose words a query's texts are compared with (`clipshelf.catalogue.lexical`), that of the
      text among them if it should be; none by default. A catalogue keeps them.
    - `encoding`: the encoding of a CSV or JSON file, None to find it out.
    - `delimiter`: the character between the cells of a CSV file, None to find it out.
    - `unpacked_bytes`: the most that a file compressed by gzip may unpack to, 1 byte or more; None for 100 times its
      size, or 64 MiB where that is more.

    A name other than the default must be that of a column; one in other case, or with blanks around it, is taken for
    it, and a warning says so.
    """

    id: str = "id"
    text: str | Sequence[str] = "text"
    image: str | Sequence[str] = "image"
    columns: Mapping[str, Declaration] = field(default_factory=dict, hash=False)
    words: Sequence[str] = ()
    encoding: str | None = None
    delimiter: str | None = None
    unpacked_bytes: int | None = None
    text_separator: str | None = None
    image_separator: str | None = None
    falloff: float | None = None

    def __post_init__(self) -> None:
        check_declarations(self.columns)
        if isinstance(self.words, str) or not all(isinstance(name, str) for name in self.words):
            raise InputError(f"words: expected names of columns, found {self.words!r:.80}")
        names = (*self.text_columns, *self.image_columns)
        if not all(isinstance(name, str) for name in names) or not (self.text_columns and self.image_columns):
            raise InputError(f"text, image: expected names of columns, found {self.text!r:.80} and {self.image!r:.80}")
        if len(set(names)) < len(names):
            raise InputError(f"text, image: expected columns of different names, found {shorten_list(names)}")
        for separator in (self.text_separator, self.image_separator):
            if separator is not None and (not isinstance(separator, str) or not separator.strip()):
                raise InputError(f"separator: expected characters that are no blanks, found {separator!r:.80}")
        if self.unpacked_bytes is not None and (type(self.unpacked_bytes) is not int or self.unpacked_bytes < 1):
            raise InputError(f"unpacked_bytes: expected a number of bytes from 1 on, found {self.unpacked_bytes!r:.80}")
        if self.falloff is not None:
            check_falloff(self.falloff)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of texts, in order."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @property
    def image_columns(self) -> tuple[str, ...]:
        """The columns of pictures, in order."""
        return (self.image,) if isinstance(self.image, str) else tuple(self.image)


DEFAULT_FIELDS = ProductFields()


def read_source(source: PathLike | Iterable[Any], fields: ProductFields, part: Part = WHOLE) -> Source:
    """Read the records of a source, unchecked.

    - `source`: a path that ends in .parquet, .csv, .tsv, .tab, .txt, .jsonl, .ndjson or .json, the last seven also
      followed by .gz; a table; or an iterable of records.
    - `fields`: names of columns, the encoding and the delimiter of a file of text.
    - `part`: what it is of a larger source.

    Raises InputError naming the file, and MissingExtra for Parquet without pyarrow.
    """
    table = _read(source, fields, part.lines)
    return replace(table, name=part.name or table.name, first=part.records)


def _read(source: PathLike | Iterable[Any], fields: ProductFields, skipped_lines: int) -> Source:
    if not isinstance(source, (str, os.PathLike)):
        return read_memory(source)
    path = Path(source)
    suffix = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix == ".parquet" and suffix == path.suffix.lower():
        return read_parquet(path)
    if suffix in (".csv", ".tsv", ".tab", ".txt"):
        return read_csv(
            path,
            encoding=fields.encoding,
            delimiter=fields.delimiter,
            known_names=known_names(fields),
            unpacked_bytes=fields.unpacked_bytes,
            skipped_lines=skipped_lines,
        )
    if suffix in (".jsonl", ".ndjson"):
        return read_json_lines(
            path, encoding=fields.encoding, unpacked_bytes=fields.unpacked_bytes, skipped_lines=skipped_lines
        )
    if suffix == ".json":
        return read_json(path, encoding=fields.encoding, unpacked_bytes=fields.unpacked_bytes)
    if path.is_dir():
        raise InputError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}, found a folder")
    hint = "; a spreadsheet can be saved as CSV" if suffix in (".xls", ".xlsx", ".ods") else ""
    raise InputError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}, found {path.suffix or 'none'}{hint}")


def known_names(fields: ProductFields) -> set[str]:
    """Names of columns, of which the header of a table has some."""
    roles = {fields.id, *fields.text_columns, *fields.image_columns}
    return {"id", "text", "image", *roles, *fields.columns}
