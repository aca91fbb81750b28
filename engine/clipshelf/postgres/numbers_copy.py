"""Arrays of numbers written to a table, as blocks of bytes in the binary format of COPY."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg import sql

from clipshelf.postgres.connections import Connection

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # without flags and extension
_END = b"\xff\xff"
_LINES_AT_A_TIME = 1 << 16


def copy_numbers(connection: Connection, table: str, columns: dict[str, npt.NDArray[Any]]) -> None:
    """Append n lines to a table.

    - `columns`: (n,) arrays of int64, int32 or float32 by the names of columns of type bigint, integer or real.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin with (format binary)").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_HEAD)
        for block in _blocks(list(columns.values())):
            copy.write(block)
        copy.write(_END)


def _blocks(arrays: list[npt.NDArray[Any]]) -> Iterator[bytes]:
    """Lines in big-endian order: the number of values, then the size in bytes of each value before it."""
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for place, array in enumerate(arrays):
        fields += [(f"size {place}", ">i4"), (f"value {place}", array.dtype.newbyteorder(">").str)]
    for start in range(0, len(arrays[0]), _LINES_AT_A_TIME):
        parts = [array[start : start + _LINES_AT_A_TIME] for array in arrays]
        lines = np.empty(len(parts[0]), np.dtype(fields))
        lines["count"] = len(arrays)
        for place, part in enumerate(parts):
            lines[f"size {place}"], lines[f"value {place}"] = part.itemsize, part
        yield lines.tobytes()
