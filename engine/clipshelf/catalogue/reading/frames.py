"""Reads products from tables in memory, of pandas, polars and pyarrow, and from Parquet files.

A table is recognised by its methods, so that no table library is imported here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clipshelf.catalogue.reading.source import Source, check_names
from clipshelf.errors import InputError, MissingExtra
from clipshelf.files import open_regular


def read_memory(source: Any) -> Source:
    """Read a pandas, polars or pyarrow table, or any iterable of records; raises InputError for anything else."""
    if hasattr(source, "to_pylist") and hasattr(source, "column_names"):
        return _read_arrow(source, Path.cwd(), "")
    if hasattr(source, "to_dicts"):
        return Source(list(source.to_dicts()), names=list(source.columns))
    if hasattr(source, "to_dict") and hasattr(source, "notna") and hasattr(source, "columns"):
        return _read_pandas(source)
    if isinstance(source, (dict, bytes, bytearray)) or not isinstance(source, Iterable):
        raise InputError(f"products: expected a file, a table or dicts, found {type(source).__name__}")
    return Source(list(source))


def read_parquet(path: Path) -> Source:
    """Read a Parquet file; raises MissingExtra without pyarrow."""
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise MissingExtra('Parquet files need pyarrow: pip install "clipshelf[parquet]"') from None
    try:
        if path.is_dir():
            table = parquet.read_table(path)
        else:
            with open_regular(path) as file:
                table = parquet.read_table(file)
    except (OSError, arrow.ArrowException) as error:
        raise InputError(f"{path}: expected a Parquet file, found: {error}") from error
    return _read_arrow(table, path.parent.resolve(), str(path))


def _read_pandas(frame: Any) -> Source:
    """The records of a pandas frame; an index that has a name is a column."""
    names = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(level=names) if names else frame
    names = list(frame.columns)
    check_names("table", names)
    # pandas has several kinds of missing value; here None is the only one.
    return Source(frame.astype(object).where(frame.notna(), None).to_dict("records"), names=names)


def _read_arrow(table: Any, root: Path, file: str) -> Source:
    """The records of a pyarrow table; a column that Python cannot hold is left out, with a warning."""
    names = list(table.column_names)
    check_names(file or "table", names)
    columns, warnings = {}, []
    for name, column in zip(names, table.columns, strict=True):
        try:
            columns[name] = _arrow_values(column)
        except (ValueError, OverflowError, LookupError, NotImplementedError) as error:
            warnings.append(f"column {name} of type {column.type} is left out: {error}")
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Source(records, root, file, names=list(columns), warnings=warnings)


def _arrow_values(column: Any) -> list[Any]:
    """The values of a pyarrow column; those in nanoseconds are cut to the microseconds of Python."""
    try:
        return list(column.to_pylist())
    except ValueError:
        arrow = importlib.import_module("pyarrow")
        if arrow.types.is_timestamp(column.type):
            return list(column.cast(arrow.timestamp("us", column.type.tz), safe=False).to_pylist())
        if arrow.types.is_duration(column.type):
            return list(column.cast(arrow.duration("us"), safe=False).to_pylist())
        if arrow.types.is_time64(column.type):
            return list(column.cast(arrow.time64("us"), safe=False).to_pylist())
        raise
