"""Reads tables in CSV as tools write them: with commas, semicolons, tabs or bars, in UTF-8, UTF-16 or cp1252.

A line that cannot be read costs itself alone: reading goes on with the line after it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from clipshelf.catalogue.reading.encodings import DecodedText, decode, find_bad_byte, read_bytes
from clipshelf.catalogue.reading.source import Source, check_names
from clipshelf.errors import InputError
from clipshelf.forks import call_in_child

_DELIMITERS = ",;\t|"
_DELIMITER_NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_LONGEST_CELL = 1 << 24  # characters
# A cell of more lines than this may be one whose quote has no end; this number of its lines is examined.
_ROWS_IN_A_CELL = 4
_LINES_EXAMINED = 50


def read_csv(
    path: Path,
    *,
    encoding: str | None,
    delimiter: str | None,
    known_names: Collection[str],
    unpacked_bytes: int | None = None,
) -> Source:
    """Read a CSV file.

    - `path`: the file; one whose name ends in .tsv or .tab has tabs between its cells, and .gz is decompressed.
    - `encoding`: its encoding, None to find it out.
    - `delimiter`: the character between its cells, None to find it out: by a first line `sep=;`, or by the header.
    - `known_names`: names of columns, of which the header has some.
    - `unpacked_bytes`: as of `encodings.read_bytes`.

    Raises InputError for a file that cannot be read, or whose header cannot be.
    """
    decoded = decode(path, read_bytes(path, "a CSV file", unpacked_bytes), encoding, may_guess=True)
    warnings = []
    if decoded.is_guess:
        warnings.append(f"{path}: read as {decoded.encoding}, since it is not UTF-8; --encoding names another encoding")
    lines = list(io.StringIO(decoded.text, newline=""))
    start = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    if lines[start:] and lines[start].lower().startswith("sep="):
        delimiter = delimiter or lines[start][4:].strip("\r\n")[:1] or None
        start += 1
    if delimiter is None and {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes[-2:]}:
        delimiter = "\t"
    if delimiter is None:
        delimiter = _guess_delimiter("".join(lines[start : start + 1]), {name.casefold() for name in known_names})
        if delimiter != ",":
            found = _DELIMITER_NAMES[delimiter]
            warnings.append(f"{path}: read with {found} between its cells; --delimiter names another character")
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise InputError(f"delimiter: expected one character that is no quote, found {delimiter!r}")
    with _CELL_LIMIT:
        return _read_table(path, _Feed(lines, start), delimiter, decoded, warnings)


class _Feed:
    """Feeds lines to a csv reader; `position` is that of the next line, and may be set back."""

    def __init__(self, lines: list[str], position: int) -> None:
        self.lines = lines
        self.position = position

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.position == len(self.lines):
            raise StopIteration
        self.position += 1
        return self.lines[self.position - 1]


def _read_table(path: Path, feed: _Feed, delimiter: str, decoded: DecodedText, warnings: list[str]) -> Source:
    skips_blanks = _has_blanks_after(delimiter, "".join(feed.lines[feed.position : feed.position + 1]))
    reader = csv.reader(feed, delimiter=delimiter, strict=True, skipinitialspace=skips_blanks)
    header_line = feed.position + 1
    try:
        names = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path}: line {header_line}: expected a header in CSV, found: {error}") from error
    if bad := find_bad_byte("".join(names)):
        raise InputError(f"{path}: line {header_line}: expected a header in {decoded.encoding}, found the byte {bad}")
    named = [i for i, name in enumerate(names) if name]
    check_names(str(path), [names[i] for i in named])
    unnamed = _UnnamedColumns(names)
    records: list[Any] = []
    starts: list[int] = []
    for start, row in _rows(path, feed, reader, names):
        starts.append(start + 1)
        if isinstance(row, InputError):
            records.append(row)
        elif decoded.has_bad_bytes and (bad := find_bad_byte("".join(row))):
            records.append(InputError(f"{path}: line {start + 1}: expected {decoded.encoding}, found the byte {bad}"))
        else:
            unnamed.see(row)
            record = dict(zip(names, row, strict=True))
            record.pop("", None)
            records.append(record)
    warnings += unnamed.warnings(path)
    return Source(records, path.parent.resolve(), str(path), starts, [names[i] for i in named], True, warnings)


def _rows(
    path: Path, feed: _Feed, reader: Iterator[list[str]], names: list[str]
) -> Iterator[tuple[int, list[str] | InputError]]:
    """The position of the first line of each row, and its cells, or the InputError of a row that cannot be read.

    Rows without a single cell that is filled are left out.
    """
    width = len(names)
    while True:
        start = feed.position
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            feed.position = start + 1
            yield start, InputError(f"{path}: line {start + 1}: expected CSV, found: {error}")
            continue
        if feed.position - start > _ROWS_IN_A_CELL and _holds_rows(feed, start + 1, reader, width):
            feed.position = start + 1
            yield start, InputError(f"{path}: line {start + 1}: expected CSV, found a quote that has no end in its row")
        elif not any(map(str.strip, row)):
            continue
        elif len(row) == width:
            yield start, row
        elif len(row) > width and not any(map(str.strip, row[width:])):
            yield start, row[:width]
        else:
            expected = f"{width} cells, as many as the header"
            yield start, InputError(f"{path}: line {start + 1}: expected {expected}, found {len(row)}")


def _holds_rows(feed: _Feed, start: int, reader: Any, width: int) -> bool:
    """Whether nearly all lines from `start` on look like rows of the table: a quote before them has no end then."""
    if width < 3:
        return False
    examined = feed.lines[start : min(feed.position - 1, start + _LINES_EXAMINED)]
    rows = (row for line in examined for row in csv.reader([line], dialect=reader.dialect, strict=False))
    alike = sum(len(row) == width for row in rows)
    return alike * 10 >= len(examined) * 9


class _UnnamedColumns:
    """The columns without a name, which are left out; a warning says so unless they are blank or count the rows."""

    def __init__(self, names: Sequence[str]) -> None:
        self._cells: dict[int, list[str]] = {i: [] for i, name in enumerate(names) if not name}

    def see(self, row: list[str]) -> None:
        """Take note of a row's cells."""
        for i, cells in self._cells.items():
            cells.append(row[i])

    def warnings(self, path: Path) -> list[str]:
        """What was left out."""
        return [
            f"{path}: column {i + 1} has no name and is left out; name it id if it holds the ids"
            for i, cells in self._cells.items()
            if any(cells) and cells != [str(row) for row in range(len(cells))]
        ]


def _guess_delimiter(header: str, known_names: Collection[str]) -> str:
    """The delimiter that gives the most known names in the header, else the most cells; a comma if all are alike."""

    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])]
        return sum(name in known_names for name in names), len(names)

    return max(_DELIMITERS, key=score)


def _has_blanks_after(delimiter: str, header: str) -> bool:
    """Whether the header has a blank after each delimiter, as in `id, text`; then rows have it too."""
    names = next(csv.reader([header], delimiter=delimiter), [])
    return delimiter != " " and len(names) > 1 and all(name.startswith(" ") for name in names[1:])


class _CellLimit:
    """Lets the csv module read long cells in blocks; its own limit, 131,072 characters, is for all threads.

    A forked child begins without the blocks that other threads of the parent are in.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0
        self._limit = csv.field_size_limit()  # outside of all blocks
        call_in_child(self, _CellLimit._start_in_child)

    def _start_in_child(self) -> None:
        self._lock = Lock()
        if self._blocks:
            csv.field_size_limit(self._limit)
        self._blocks = 0

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1  # before the limit changes, so that a child knows at every moment whether it did
            if self._blocks == 1:
                self._limit = csv.field_size_limit()
                csv.field_size_limit(max(_LONGEST_CELL, self._limit))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._blocks == 1:
                csv.field_size_limit(self._limit)
            self._blocks -= 1


_CELL_LIMIT = _CellLimit()
