"""Reads tables in CSV as tools write them: with commas, semicolons, tabs or bars, in UTF-8, UTF-16 or cp1252.

A line that cannot be read costs itself alone: reading goes on with the line after it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from clipshelf.catalogue.reading.cell_limit import long_cells
from clipshelf.catalogue.reading.encodings import DecodedText, decode, find_bad_byte, read_bytes
from clipshelf.catalogue.reading.source import Source, check_names
from clipshelf.errors import InputError

_DELIMITERS = ",;\t|"
_DELIMITER_NAMES = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
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
    skipped_lines: int = 0,
) -> Source:
    """Read a CSV file.

    - `path`: the file; one whose name ends in .tsv or .tab has tabs between its cells, and .gz is decompressed.
    - `encoding`: its encoding, None to find it out.
    - `delimiter`: the character between its cells, None to find it out: by a first line `sep=;`, or by the header.
    - `known_names`: names of columns, of which the header has some.
    - `unpacked_bytes`: as of `encodings.read_bytes`.
    - `skipped_lines`: the number of lines that the file lacks behind the header, for messages.

    Raises InputError for a file that cannot be read, or whose header cannot be.
    """
    decoded = decode(path, read_bytes(path, "a CSV file", unpacked_bytes), encoding, may_guess=True)
    with long_cells():
        table = CsvTable(path, io.StringIO(decoded.text, newline=""), decoded.encoding, delimiter, known_names)
        if decoded.is_guess:
            guess = f"read as {decoded.encoding}, since it is not UTF-8; --encoding names another encoding"
            table.warnings.insert(0, f"{path}: {guess}")
        return _read_rows(table, decoded, skipped_lines)


class LineFeed:
    """Feeds lines to a csv reader; `position` is that of the next line, and may be set back to one that is there."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.position = 0
        self._lines = iter(lines)
        self._window: list[str] = []
        self._start = 0  # the position of the first line of the window

    def __iter__(self) -> LineFeed:
        return self

    def __next__(self) -> str:
        if self.position - self._start == len(self._window):
            self._window.append(next(self._lines))
        self.position += 1
        return self._window[self.position - self._start - 1]

    def peek(self) -> str:
        """The next line, "" at the end."""
        for line in self:
            self.position -= 1
            return line
        return ""

    def between(self, start: int, stop: int) -> list[str]:
        """The lines from one position to another."""
        return self._window[start - self._start : stop - self._start]

    def forget(self, position: int) -> None:
        """Keep the lines from a position on alone."""
        del self._window[: position - self._start]
        self._start = position


class CsvTable:
    """A table of which the header was read.

    - `path`: of the file, for messages.
    - `lines`: of the file, each with its end.
    - `encoding`: of the file, for messages; `delimiter`, `known_names` as of `read_csv`.

    - `names`: the cells of the header.
    - `feed`: of the lines behind it.
    - `warnings`: of what was guessed.

    Raises InputError for a header that cannot be read.
    """

    def __init__(
        self, path: Path, lines: Iterable[str], encoding: str, delimiter: str | None, known_names: Collection[str]
    ) -> None:
        self.path = path
        self.feed = LineFeed(lines)
        self.warnings: list[str] = []
        delimiter = self._delimiter(delimiter, known_names)
        skips_blanks = _has_blanks_after(delimiter, self.feed.peek())
        self._reader = csv.reader(self.feed, delimiter=delimiter, strict=True, skipinitialspace=skips_blanks)
        line = self.feed.position + 1
        try:
            self.names = [cell.strip() for cell in next(self._reader, [])]
        except csv.Error as error:
            raise InputError(f"{path}: line {line}: expected a header in CSV, found: {error}") from error
        if bad := find_bad_byte("".join(self.names)):
            raise InputError(f"{path}: line {line}: expected a header in {encoding}, found the byte {bad}")
        check_names(str(path), [name for name in self.names if name])

    def rows(self, skipped_lines: int = 0) -> Iterator[tuple[int, list[str] | InputError]]:
        """The position of the first line of each row, and its cells, or the InputError of a row that cannot be read.

        Rows without a single cell that is filled are left out.
        """
        feed, width = self.feed, len(self.names)
        while True:
            start = feed.position
            where = f"{self.path}: line {start + 1 + skipped_lines}"
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                feed.position = start + 1
                yield start, InputError(f"{where}: expected CSV, found: {error}")
                continue
            if feed.position - start > _ROWS_IN_A_CELL and self._holds_rows(start + 1):
                feed.position = start + 1
                yield start, InputError(f"{where}: expected CSV, found a quote that has no end in its row")
            elif not any(map(str.strip, row)):
                continue
            elif len(row) == width:
                yield start, row
            elif len(row) > width and not any(map(str.strip, row[width:])):
                yield start, row[:width]
            else:
                expected = f"{width} cells, as many as the header"
                yield start, InputError(f"{where}: expected {expected}, found {len(row)}")

    def _delimiter(self, delimiter: str | None, known_names: Collection[str]) -> str:
        """The delimiter, by a line before the header, by the name of the file, or by the header."""
        while (line := self.feed.peek()) and not line.strip():
            next(self.feed)
        if line.lower().startswith("sep="):
            delimiter = delimiter or line[4:].strip("\r\n")[:1] or None
            next(self.feed)
        if delimiter is None and {".tsv", ".tab"} & {suffix.lower() for suffix in self.path.suffixes[-2:]}:
            delimiter = "\t"
        if delimiter is None:
            delimiter = _guess_delimiter(self.feed.peek(), {name.casefold() for name in known_names})
            if delimiter != ",":
                found = _DELIMITER_NAMES[delimiter]
                self.warnings.append(
                    f"{self.path}: read with {found} between its cells; --delimiter names another character"
                )
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise InputError(f"delimiter: expected one character that is no quote, found {delimiter!r}")
        return delimiter

    def _holds_rows(self, start: int) -> bool:
        """Whether nearly all lines from `start` on look like rows of the table: a quote before them has no end then."""
        if len(self.names) < 3:
            return False
        examined = self.feed.between(start, min(self.feed.position - 1, start + _LINES_EXAMINED))
        rows = (row for line in examined for row in csv.reader([line], dialect=self._reader.dialect, strict=False))
        alike = sum(len(row) == len(self.names) for row in rows)
        return alike * 10 >= len(examined) * 9


def _read_rows(table: CsvTable, decoded: DecodedText, skipped_lines: int) -> Source:
    path, names = table.path, table.names
    unnamed = _UnnamedColumns(names)
    records: list[Any] = []
    lines: list[int] = []
    for start, row in table.rows(skipped_lines):
        line = start + 1 + skipped_lines
        lines.append(line)
        if isinstance(row, InputError):
            records.append(row)
        elif decoded.has_bad_bytes and (bad := find_bad_byte("".join(row))):
            records.append(InputError(f"{path}: line {line}: expected {decoded.encoding}, found the byte {bad}"))
        else:
            unnamed.see(row)
            record = dict(zip(names, row, strict=True))
            record.pop("", None)
            records.append(record)
    warnings = [*table.warnings, *unnamed.warnings(path)]
    return Source(records, path.parent.resolve(), str(path), lines, [name for name in names if name], True, warnings)


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
