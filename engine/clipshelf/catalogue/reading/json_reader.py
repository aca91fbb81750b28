"""Reads products in JSON: one object a line, or an array of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.reading.encodings import DecodedText, decode, find_bad_byte, read_bytes
from clipshelf.catalogue.reading.source import Source
from clipshelf.errors import InputError

_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA_OR_END = re.compile(r"[ \t\r\n]*(,|\]|$)[ \t\r\n]*")


def read_json_lines(
    path: Path, *, encoding: str | None, unpacked_bytes: int | None = None, skipped_lines: int = 0
) -> Source:
    """Read a file of one JSON object a line; a line that cannot be read costs itself alone.

    - `path`: the file; one whose name ends in .gz is decompressed.
    - `encoding`: its encoding, None for UTF-8 or what a byte order mark shows.
    - `unpacked_bytes`: as of `encodings.read_bytes`.
    - `skipped_lines`: the number of lines before those of the file, for messages.
    """
    data = read_bytes(path, "JSON Lines", unpacked_bytes)
    return _read_lines(path, decode(path, data, encoding, may_guess=False), skipped_lines)


def read_json(path: Path, *, encoding: str | None, unpacked_bytes: int | None = None) -> Source:
    """Read a file of an array of JSON objects, of an object with one such array, or of one object a line.

    Parameters as in `read_json_lines`. Raises InputError for an array that cannot be read.
    """
    decoded = decode(path, read_bytes(path, "a JSON file", unpacked_bytes), encoding, may_guess=False)
    text = decoded.text
    if not text.lstrip().startswith("["):
        try:
            whole = parse_json(text)
        except (ValueError, RecursionError):
            return _read_lines(path, decoded)
        return _read_object(path, whole)
    records, lines = [], []
    for line, record in _items(path, decoded):
        records.append(record)
        lines.append(line)
    return Source(records, path.parent.resolve(), str(path), lines)


def _read_lines(path: Path, decoded: DecodedText, skipped: int = 0) -> Source:
    records, numbers = [], []
    for number, line in enumerate(decoded.text.split("\n"), skipped + 1):
        if line.strip():
            bad = find_bad_byte(line) if decoded.has_bad_bytes else ""
            records.append(_bad(path, number, bad, decoded) if bad else _parse(path, number, line))
            numbers.append(number)
    return Source(records, path.parent.resolve(), str(path), numbers)


def _parse(path: Path, number: int, line: str) -> Any:
    """The value of one line, or the InputError of one that cannot be read."""
    try:
        return parse_json(line)
    except (ValueError, RecursionError) as error:
        return InputError(f"{path}: line {number}: expected one JSON object in UTF-8, found: {error}")


def _bad(path: Path, number: int, byte: str, decoded: DecodedText) -> InputError:
    """The error of an object that has a byte that is none of the file's encoding."""
    return InputError(f"{path}: line {number}: expected one JSON object in {decoded.encoding}, found: the byte {byte}")


def _items(path: Path, decoded: DecodedText) -> Iterator[tuple[int, Any]]:
    """The line of each item of an array, and its value, or the InputError of one that is no product."""
    text = decoded.text
    position = _skip(_SPACE, text, _skip(_SPACE, text, 0) + 1)
    line, counted = 1, 0
    while text[position : position + 1] not in ("]", ""):
        line += text.count("\n", counted, position)
        counted = position
        start = position
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            value = InputError(f"{path}: line {line}: expected a JSON object in an array, found: {error}")
            try:
                _, position = _ANY_FIELDS.raw_decode(text, position)
            except (ValueError, RecursionError):
                raise value from error
        bad = find_bad_byte(text[start:position]) if decoded.has_bad_bytes else ""
        yield line, _bad(path, line, bad, decoded) if bad else value
        separator = _COMMA_OR_END.match(text, position)
        if separator is None:
            raise InputError(f"{path}: line {line}: expected a comma after this object, found none")
        position = separator.end() if separator[1] == "," else separator.start(1)
    if text[position : position + 1] != "]":
        raise InputError(f"{path}: expected an array of JSON objects, found one without its end")


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _read_object(path: Path, whole: Any) -> Source:
    """The products of an object that has one array of objects, or is one product itself."""
    arrays = [value for value in whole.values() if isinstance(value, list)] if isinstance(whole, dict) else []
    products = [array for array in arrays if array and all(isinstance(item, dict) for item in array)]
    if len(products) == 1:
        return Source(products[0], path.parent.resolve(), str(path))
    if not isinstance(whole, dict) or all(isinstance(value, dict) for value in whole.values()):
        found = f"an object of {shorten_list(whole)}" if isinstance(whole, dict) else type(whole).__name__
        raise InputError(
            f"{path}: expected an array of JSON objects, one a product, found {found}; "
            "pandas writes one with to_json(path, orient='records')"
        )
    return Source([whole], path.parent.resolve(), str(path), [1])


def parse_json(text: str) -> Any:
    """The value that a text spells; raises ValueError, and RecursionError where it is nested too deeply."""
    return _DECODER.decode(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of an object's fields; raises ValueError where one has two values."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two values of the field {next(name for name in names if names.count(name) > 1)}")
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
# Finds the end of an object that has two values of a field.
_ANY_FIELDS = json.JSONDecoder()
