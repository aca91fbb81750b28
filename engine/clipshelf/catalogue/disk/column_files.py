"""The columns of a generation on disk: all in one file, so that a wide table needs no more files than a narrow one.

    columns.<gen>.bin         for each column its array as a `.npy` file, then its table as JSON, each on a multiple of
                              64 bytes
    column-offsets.<gen>.npy  int64 (C, 2, 2): where the array and the table of each column start and end; zeros for a
                              column of the kind mixed

The array holds the codes of a column, for a column of lists its rows; the table holds its values and, for a column of
lists, its starts, as in `columns`.

Older catalogues have two files for each column, `column<i>.<gen>.npy` and `column<i>-values.<gen>.json`. They are read
into memory when the generation is opened, for a map of each would hold a descriptor.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.disk.checksummed import BlockReader, npy_array
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.catalogue.typed_columns.kinds import Kind
from clipshelf.errors import CatalogueError

COLUMNS, OFFSETS = "columns", "column-offsets"
_OLD_ROLE = re.compile(r"column\d+(-values)?")
_ALIGNMENT = 64  # bytes; an array then starts where its type wants it
_CODES = ("|i1", "<i2", "<i4", "<i8")
_LIST_KINDS: tuple[Kind, ...] = ("numbers", "texts")
_VALUE_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "bool": (bool,),
    "number": (int, float),
    "numbers": (int, float),
    "text": (str,),
    "texts": (str,),
    "date": (str,),
}


class _Writer(Protocol):
    def write(self, data: bytes | memoryview) -> int: ...


def is_old_column(role: str) -> bool:
    """Whether a role is that of a file of one column, as older catalogues have them."""
    return bool(_OLD_ROLE.fullmatch(role))


def write_column(file: _Writer, column: Column, start: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Append a column to the file of all columns.

    - `file`: the open file.
    - `start`: its length in bytes.

    Returns where the column's array starts and ends, and where its table does.
    """
    array = io.BytesIO()
    np.save(array, column.rows if column.is_list else column.codes, allow_pickle=False)
    table = json.dumps({"values": column.values, "starts": column.starts}, ensure_ascii=False, allow_nan=False)
    spans = []
    for content in (array.getvalue(), table.encode()):
        start += file.write(bytes(-start % _ALIGNMENT))
        spans.append((start, start + file.write(content)))
        start = spans[-1][1]
    return spans[0], spans[1]


def read_column(readers: Mapping[str, BlockReader], kinds: Mapping[str, Kind], name: str, count: int) -> Column:
    """Read a column and check it, so that no filter comes upon a code or a row that is not there.

    - `readers`: the files of a generation by role.
    - `kinds`: the kind of each column by name.
    - `name`: the column, which is not of the kind mixed.
    - `count`: N.

    Raises CatalogueError naming the file where the column is not as one is written.
    """
    index, kind = list(kinds).index(name), kinds[name]
    path, array, table = _parts(readers, index, len(kinds), None if kind in _LIST_KINDS else count)
    try:
        data = json.loads(table)
        values, starts = data["values"], data["starts"]
        problem = _problem(kind, values, starts, array, count)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise CatalogueError(f"{path}: column {name}: expected a column of {kind}, found {problem}")
    if kind in _LIST_KINDS:
        return Column(kind, values, rows=array, starts=starts)
    return Column(kind, values, codes=array)


def _parts(
    readers: Mapping[str, BlockReader], index: int, columns: int, count: int | None
) -> tuple[Path, npt.NDArray[Any], bytes]:
    """The file, the array and the text of the table of the column at position `index`."""
    if COLUMNS not in readers:
        codes, values = _reader(readers, f"column{index}"), _reader(readers, f"column{index}-values")
        return codes.path, np.asarray(codes.array(_CODES, (count,))), values.whole().tobytes()
    file, offsets = readers[COLUMNS], _reader(readers, OFFSETS)
    spans = offsets.array(["<i8"], (columns, 2, 2))[index].ravel().tolist()
    if not all(start <= stop for start, stop in pairwise([0, *spans, file.size])):
        raise CatalogueError(f"{offsets.path}: expected spans of {file.size} bytes, found {spans}")
    array, table = file.slices(spans[::2], spans[1::2])
    return file.path, npy_array(file.path, np.frombuffer(array, np.uint8), _CODES, (count,)), bytes(table)


def _reader(readers: Mapping[str, BlockReader], role: str) -> BlockReader:
    if role not in readers:
        raise CatalogueError(f"manifest.json: files: expected one of {role}, found none")
    return readers[role]


def _problem(kind: Kind, values: Any, starts: Any, array: npt.NDArray[Any], count: int) -> str:
    """What is wrong with the parts of a column, "" for nothing. May raise TypeError or ValueError."""
    types = _VALUE_TYPES[kind]
    if not isinstance(values, list) or not all(type(value) in types for value in values):
        return "values of another kind"
    if not all(one < other for one, other in pairwise(values)):
        return "values that are not sorted"
    if any(isinstance(end, float) and not math.isfinite(end) for end in values[:1] + values[-1:]):
        return "numbers that are not finite"
    if kind not in _LIST_KINDS:
        return _outside(array, -1, len(values))
    return _problem_of_starts(starts, len(values), len(array)) or _outside(array, 0, count)


def _problem_of_starts(starts: Any, values: int, entries: int) -> str:
    if not isinstance(starts, list) or len(starts) != values + 1 or not all(type(start) is int for start in starts):
        return "another number of starts"
    if starts[0] != 0 or starts[-1] != entries or not all(one <= other for one, other in pairwise(starts)):
        return "starts that are not sorted"
    return ""


def _outside(array: npt.NDArray[Any], least: int, stop: int) -> str:
    outside = len(array) and (array.min() < least or array.max() >= stop)
    return f"numbers from {array.min()} to {array.max()} instead of {least} to {stop - 1}" if outside else ""
