"""Cuts large files of text between records, so that a part of a file can be read without the others.

A file is cut only where its parts have the records that the whole has: in UTF-8, not compressed, and a table whose ids
do not end in .0, which are read without it where all of them are whole numbers. A row whose quote has no end is left
out of both, perhaps with another reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader, StringIO
from pathlib import Path
from typing import BinaryIO

from clipshelf.catalogue.reading.cell_limit import long_cells
from clipshelf.catalogue.reading.csv_reader import CsvTable
from clipshelf.catalogue.reading.encodings import find_bad_byte, is_plain_utf8
from clipshelf.catalogue.reading.field_names import plain_name
from clipshelf.catalogue.reading.json_reader import parse_json
from clipshelf.catalogue.reading.readers import ProductFields, known_names
from clipshelf.errors import InputError

_TABLES = (".csv", ".tsv", ".tab", ".txt")
_LINES = (".jsonl", ".ndjson")
_FIRST_BYTES = 16


@dataclass(frozen=True)
class FilePart:
    """A part of a file of text.

    - `header`: the number of bytes that the file begins with and that each part needs before its own.
    - `start`, `stop`: its own bytes.
    - `lines`, `records`: their numbers between the header and the part.
    - `names`: of the fields of all records of the file; None for a table, whose header names them.
    """

    header: int
    start: int
    stop: int
    lines: int
    records: int
    names: tuple[str, ...] | None


def cut_file(stream: BufferedReader, name: str, fields: ProductFields, part_bytes: int) -> list[FilePart]:
    """The parts of a file, in order; none where it must be read as a whole.

    - `stream`: of the whole file; it is read once, and few of its lines are in memory.
    - `name`: of the file, whose end says what it is.
    - `fields`: as `readers.read_source` takes them.
    - `part_bytes`: of a part, which is larger by less than one record.
    """
    suffix = Path(name).suffix.lower()
    first = stream.peek(_FIRST_BYTES)[:_FIRST_BYTES]
    if (fields.encoding or "utf-8").lower().replace("_", "-") not in ("utf-8", "utf8") or not is_plain_utf8(first):
        return []
    if suffix in _TABLES:
        return _cut_table(stream, name, fields, part_bytes)
    return _cut_lines(stream, part_bytes) if suffix in _LINES else []


def _cut_lines(stream: BinaryIO, part_bytes: int) -> list[FilePart]:
    starts, names = [(0, 0, 0)], dict[str, None]()
    offset = records = 0
    for number, line in enumerate(stream):
        if offset - starts[-1][0] >= part_bytes:
            starts.append((offset, number, records))
        offset += len(line)
        text = line.decode(errors="surrogateescape").removeprefix("\ufeff" if number == 0 else "")
        if text.strip():
            records += 1
            names |= dict.fromkeys(_names(text))
    return _parts(0, starts, offset, tuple(names))


def _names(line: str) -> Iterable[str]:
    """The names of the fields of a record in JSON; none for a line that is no record."""
    try:
        record = parse_json(line)
    except (ValueError, RecursionError):
        return ()
    return record if isinstance(record, Mapping) and not find_bad_byte(line) else ()


def _cut_table(stream: BinaryIO, name: str, fields: ProductFields, part_bytes: int) -> list[FilePart]:
    lines = _Lines(stream)
    with long_cells():
        try:
            table = CsvTable(Path(name), lines, "UTF-8", fields.delimiter, known_names(fields))
        except InputError:  # told when the file is read
            return []
        header = position = table.feed.position
        offset = header_bytes = lines.bytes_between(0, header)
        ids = _column(table.names, fields.id)
        starts = [(offset, 0, 0)]
        for records, (start, row) in enumerate(table.rows()):
            offset += lines.bytes_between(position, start)
            position = start
            table.feed.forget(start)
            if offset - starts[-1][0] >= part_bytes:
                starts.append((offset, start - header, records))
            if not isinstance(row, InputError) and any(row[i].strip().endswith(".0") for i in ids):
                return []
    if lines.has_bad_bytes:
        return []
    return _parts(header_bytes, starts, lines.bytes, None)


def _column(names: Collection[str], name: str) -> list[int]:
    return [i for i, other in enumerate(names) if plain_name(other) == plain_name(name)]


def _parts(header: int, starts: list[tuple[int, int, int]], end: int, names: tuple[str, ...] | None) -> list[FilePart]:
    stops = [*(start for start, _, _ in starts[1:]), end]
    return [
        FilePart(header, start, stop, lines, records, names)
        for (start, lines, records), stop in zip(starts, stops, strict=True)
    ]


class _Lines:
    """The lines of a file in UTF-8, and their sizes.

    - `bytes`: that were read so far.
    - `has_bad_bytes`: whether some of these are not UTF-8.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sizes: list[int] = []
        self._first = 0  # the position of the line of the first size
        self.bytes = 0
        self.has_bad_bytes = False

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            text = line.decode(errors="surrogateescape")
            if not self.has_bad_bytes and not text.isascii():
                self.has_bad_bytes = bool(find_bad_byte(text))
            has_other_ends = text.count("\r") > text.endswith("\r\n")
            pieces = StringIO(text, newline="") if has_other_ends else (text,)
            for piece in pieces:
                size = len(piece) if piece.isascii() else len(piece.encode(errors="surrogateescape"))
                self._sizes.append(size)
                self.bytes += size
                yield piece if self.bytes > size else piece.removeprefix("\ufeff")

    def bytes_between(self, start: int, stop: int) -> int:
        """The bytes of the lines from one position to another, before which no others will be asked for."""
        count = sum(self._sizes[start - self._first : stop - self._first])
        del self._sizes[: stop - self._first]
        self._first = stop
        return count
