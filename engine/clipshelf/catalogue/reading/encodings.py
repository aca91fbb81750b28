"""Decodes files of text: by their byte order mark, as UTF-8, or as what the caller names."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from clipshelf.errors import InputError
from clipshelf.files import open_regular

# Longer marks first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
# The most that a compressed file may unpack to unless the caller says more: the larger of these many bytes, and of this
# multiple of its own size. Tables compress 3 to 50 times, a bomb up to 1,030 times.
_UNPACKED_BYTES = 1 << 26
_UNPACKED_RATIO = 100
_CHUNK_BYTES = 1 << 20
_OTHER_FILES = {
    b"PK\x03\x04": "a ZIP file or a spreadsheet, which can be saved as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet, which can be saved as CSV",
    b"PAR1": "a Parquet file, whose name ends in .parquet",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a SQLite database",
}
# What most tools on Windows wrote before UTF-8.
_GUESS = "cp1252"
_BAD_BYTE = re.compile("[\udc80-\udcff]")
_NO_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class DecodedText:
    """The text of a file.

    - `text`: the text; a byte that is not of its encoding is a lone surrogate from U+DC80 to U+DCFF.
    - `encoding`: its encoding, for messages.
    - `has_bad_bytes`: whether there are such bytes.
    - `is_guess`: whether the encoding was guessed.
    """

    text: str
    encoding: str
    has_bad_bytes: bool = False
    is_guess: bool = False


def read_bytes(path: Path, expected: str, unpacked_bytes: int | None = None) -> bytes:
    """Read a file of text, and decompress it where it is compressed by gzip.

    - `unpacked_bytes`: the most that a compressed file may unpack to; None for 100 times its size, or 64 MiB where
      that is more.

    Raises InputError, which says that `expected` was expected, for a file that is another one by its first bytes, and
    for one that unpacks to more.
    """
    try:
        with open_regular(path) as file:
            is_packed = file.read(len(_GZIP)) == _GZIP or path.suffix.lower() == ".gz"
            file.seek(0)
            data = _unpack(path, file, unpacked_bytes) if is_packed else file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected {expected}, found: {error}") from error
    except MemoryError as error:
        raise InputError(f"{path}: expected {expected} that fits in memory, found a larger file") from error
    for first_bytes, name in _OTHER_FILES.items():
        if data.startswith(first_bytes):
            raise InputError(f"{path}: expected {expected}, found {name}")
    return data


def _unpack(path: Path, file: BinaryIO, most: int | None) -> bytes:
    """What a file unpacks to; a file that unpacks to more is never held in memory as a whole."""
    if most is None:
        most = max(_UNPACKED_BYTES, _UNPACKED_RATIO * os.fstat(file.fileno()).st_size)
    unpacked = io.BytesIO()
    with gzip.open(file) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            if unpacked.tell() + len(chunk) > most:
                raise InputError(
                    f"{path}: expected a file that unpacks to at most {most:,} bytes, found a larger one; "
                    "--unpacked-bytes or unpacked_bytes= allows more"
                )
            unpacked.write(chunk)
    return unpacked.getvalue()


def decode(path: Path, data: bytes, encoding: str | None, *, may_guess: bool) -> DecodedText:
    """Decode the content of a file.

    - `path`: the file, for messages.
    - `data`: its content.
    - `encoding`: its encoding, None to find it out: by its byte order mark or its zero bytes, else UTF-8.
    - `may_guess`: whether a file that has more bytes that are none of UTF-8 than letters of it beside ASCII is taken
      for cp1252.

    A byte that does not belong to the encoding is marked, so that it costs its line alone. Raises InputError for an
    unknown encoding, and for text that cannot be read on behind such a byte.
    """
    name = encoding or _marked_encoding(data) or "utf-8"
    decoded = _decode(path, data, name)
    if decoded.has_bad_bytes and may_guess and not encoding:
        bad_bytes = _bad_bytes(decoded.text)
        letters = len(_NO_ASCII.findall(decoded.text)) - bad_bytes
        guess = _decode(path, data, _GUESS)
        if bad_bytes > letters and _bad_bytes(guess.text) < bad_bytes:
            return replace(guess, is_guess=True)
    return decoded


def _decode(path: Path, data: bytes, name: str) -> DecodedText:
    """The content of a file in the encoding `name`, with marks for bytes that are none of it."""
    try:
        text = data.decode(name, errors="surrogateescape").removeprefix("\ufeff")
        encoding = "UTF-8" if codecs.lookup(name).name in ("utf-8", "utf-8-sig") else name
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: expected text in {name}, found: {error}") from error
    except (LookupError, ValueError) as error:
        raise InputError(f"{path}: expected an encoding such as cp1252, found {name!r}: {error}") from error
    return DecodedText(text, encoding, has_bad_bytes=_BAD_BYTE.search(text) is not None)


def _bad_bytes(text: str) -> int:
    """The number of marked bytes in a text."""
    return len(_BAD_BYTE.findall(text))


def find_bad_byte(text: str) -> str:
    """The first byte of a decoded text that is not of its encoding, such as 0xe9; "" if there is none."""
    match = _BAD_BYTE.search(text)
    return f"0x{ord(match[0]) - 0xDC00:02x}" if match else ""


def is_plain_utf8(first_bytes: bytes) -> bool:
    """Whether a file can be text in UTF-8 that is not compressed, by its first 16 bytes."""
    return not first_bytes.startswith((_GZIP, *_OTHER_FILES)) and _marked_encoding(first_bytes) in (None, "utf-8-sig")


def _marked_encoding(data: bytes) -> str | None:
    """The encoding that the first bytes of a file show, None if they show none."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if len(data) > 3 and not data[1] and data[0] and not data[3]:
        return "utf-16-le"
    return "utf-16-be" if len(data) > 3 and not data[0] and data[1] and not data[2] else None
