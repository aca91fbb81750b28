"""The product records of a generation: a JSON Lines file, whose lines are parsed and checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from clipshelf.catalogue.contents import checked_rows
from clipshelf.catalogue.disk.checksummed import BlockReader
from clipshelf.catalogue.product_sides import pictures_of, texts_of
from clipshelf.errors import CatalogueError
from clipshelf.types import Product, Rows

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
        return _parse_records(self._lines.path, lines)

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


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name}, which is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text:.20}, a number beyond all floats")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _check_values(records: Sequence[Product]) -> None:
    """Raise TypeError unless all ids are strings, all texts strings or lists of them, and pictures alike or None."""
    values = [value for item in records for value in (item["id"], item.get("text", ""), item.get("image", ""))]
    try:
        # Joining fails for anything but strings, and is faster than to look at each.
        "".join(values)
    except TypeError:
        "".join(values[::3])
        for item in records:
            if None in (item.get("text", ""), item.get("image", "")):
                raise TypeError("expected a text or picture, or no such field, found null") from None
            "".join(texts_of(item))
            "".join([path for path in pictures_of(item) if path is not None])


def _parse_records(path: Path, lines: Sequence[memoryview]) -> list[Product]:
    """Parse n lines, each a record with an id, and no text or picture's path but as text; raises CatalogueError."""
    # One array for all: the parser is called once, and each field's name is one string in all records.
    content = b"[%b]" % b",".join(lines)
    try:
        records: list[Product] = _DECODER.decode(content.decode())
        _check_values(records)
        if b"\\u" in content:
            # Half of a surrogate pair may be anywhere, in a name too.
            json.dumps(records, ensure_ascii=False).encode()
        problem = f"{len(records)} records" if len(records) != len(lines) else ""
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise CatalogueError(f"{path}: expected {len(lines)} product records, one a line, found {problem}")
    return records
