"""Reads products from a list of dicts, a CSV, JSON Lines or Parquet file, or a pandas, polars or pyarrow table."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipshelf.catalogue.kinds import Declaration
from clipshelf.catalogue.messages import shorten_list
from clipshelf.errors import InputError, MissingExtra
from clipshelf.types import PathLike

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")


@dataclass(frozen=True)
class ProductFields:
    """How the columns of a source are read.

    - `id`: the column of ids; a product without one gets its position in the source.
    - `text`: the column of texts.
    - `image`: the column of pictures.
    - `columns`: declarations of further columns by name, see `kinds`; the kinds of others are inferred.
    - `encoding`: the encoding of a CSV or JSON file, None to find it out.
    - `delimiter`: the character between the cells of a CSV file, None to find it out.

    A name other than the default must be that of a column; one in other case, or with blanks around it, is taken for
    it, and a warning says so.
    """

    id: str = "id"
    text: str = "text"
    image: str = "image"
    columns: Mapping[str, Declaration] = field(default_factory=dict, hash=False)
    encoding: str | None = None
    delimiter: str | None = None


DEFAULT_FIELDS = ProductFields()


def read_source(source: PathLike | Iterable[Any], fields: ProductFields) -> tuple[Path, list[Any]]:
    """Read the records of a source, unchecked.

    - `source`: a path that ends in .csv, .jsonl, .ndjson or .parquet, a table, or an iterable of records. A table is
      recognised by its methods, so that no table library is imported here.
    - `fields`: the columns of which a CSV file must have at least text or image.

    Returns the folder that relative picture paths start from, and the records: dicts, unless the source holds something
    else. Raises InputError naming the file or line, and MissingExtra for Parquet without pyarrow.
    """
    if not isinstance(source, (str, os.PathLike)):
        return Path.cwd(), _from_memory(source)
    path = Path(source)
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: expected a file that ends in {', '.join(readers)}, found {path.suffix or 'none'}")
    return path.parent.resolve(), reader(path, fields)


def _from_memory(source: Any) -> list[Any]:
    """Records of a polars, pyarrow or pandas table, or of any iterable."""
    for method in ("to_dicts", "to_pylist"):
        if hasattr(source, method):
            return list(getattr(source, method)())
    if hasattr(source, "to_dict") and hasattr(source, "notna") and hasattr(source, "columns"):
        # pandas has several kinds of missing value; here None is the only one.
        return list(source.astype(object).where(source.notna(), None).to_dict("records"))
    if isinstance(source, (dict, bytes)) or not isinstance(source, Iterable):
        raise InputError(f"products: expected a file, a table or dicts, found {type(source).__name__}")
    return list(source)


def _read_csv(path: Path, fields: ProductFields) -> list[Any]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            rows: list[Any] = list(reader)
            columns = list(reader.fieldnames or ())
    except csv.Error as error:
        raise InputError(f"{path}: after line {reader.line_num}: expected CSV, found: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8, found: {error}") from error
    if len(set(columns)) < len(columns):
        raise InputError(f"{path}: expected columns of different names, found {shorten_list(columns)}")
    if not {fields.text, fields.image} & set(columns):
        found = shorten_list(columns) or "no columns"
        raise InputError(
            f"{path}: expected columns with commas between, one named {fields.text} or {fields.image}, found {found}"
        )
    for line, row in enumerate(rows, 2):
        if "" in row or None in row.values():
            raise InputError(f"{path}: row {line}: expected {len(columns)} cells, as many as the header, found others")
    for column in columns:
        if column not in (fields.id, fields.text, fields.image):
            _type_cells(rows, column)
    return rows


def _type_cells(rows: list[Any], column: str) -> None:
    """Turn a column into floats where every cell is a number or blank."""
    if all(_NUMBER.fullmatch(row[column]) for row in rows if row[column]):
        for row in rows:
            row[column] = float(row[column]) if row[column] else None


def _read_json_lines(path: Path, _: ProductFields) -> list[Any]:
    records = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    records.append(_parse(path, number, line))
    except OSError as error:
        raise InputError(f"{path}: expected JSON Lines, found: {error}") from error
    return records


def _parse(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line {number}: expected one JSON object in UTF-8, found: {error}") from error


def _read_parquet(path: Path, _: ProductFields) -> list[Any]:
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise MissingExtra('Parquet files need pyarrow: pip install "clipshelf[parquet]"') from None
    try:
        return list(parquet.read_table(path).to_pylist())
    except (OSError, arrow.ArrowException) as error:
        raise InputError(f"{path}: expected a Parquet file, found: {error}") from error
