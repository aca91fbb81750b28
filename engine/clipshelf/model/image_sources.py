"""Where pictures come from: a path, bytes, a stream, a data: URI or a record of bytes and path, read within a limit.

Only regular files are read: a FIFO never ends, and neither does /dev/zero.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

import numpy as np

from clipshelf.model.image_limits import ImageLimits
from clipshelf.types import PathLike

_LONGEST_NAME = 200
_READ_SIZE = 1 << 20
_URI = re.compile(r"data:|[a-z][a-z0-9+.-]+://|file:/", re.IGNORECASE)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class CroppedImage:
    """A part of a picture, as the source of one.

    - `source`: the whole picture.
    - `box`: left, top, right and bottom as fractions of the upright picture's width and height, 0 to 1.
    """

    source: Any
    box: tuple[float, float, float, float]

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The part in pixels of a picture of this size, each edge at the nearest one; at least one pixel."""
        sizes = (width, height, width, height)
        left, top, right, bottom = (int(edge * size + 0.5) for edge, size in zip(self.box, sizes, strict=True))
        left, top = min(left, width - 1), min(top, height - 1)
        return left, top, max(left + 1, right), max(top + 1, bottom)


def is_uri(source: object) -> bool:
    """Whether a source is a data: URI or a URL, and so no path."""
    return isinstance(source, str) and _URI.match(source) is not None


def source_name(source: object) -> str:
    """A short name of a picture for messages: its path, its number of bytes, or its type."""
    if isinstance(source, CroppedImage):
        source = source.source
    if isinstance(source, Mapping):
        source = source.get("path") or source.get("bytes") or "a record"
    if isinstance(source, (str, os.PathLike)):
        return _path_name(os.fsdecode(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{memoryview(source).nbytes} bytes"
    if isinstance(source, np.ndarray):
        return f"array of {source.dtype} {source.shape}"
    return str(getattr(source, "name", type(source).__name__))


def _path_name(path: str) -> str:
    if path[:5].lower() == "data:":
        return f"data: URI of {len(path):,} letters"
    return path if len(path) <= _LONGEST_NAME else f"{path[:_LONGEST_NAME]}… ({len(path):,} letters)"


def read_encoded(source: Any, limits: ImageLimits) -> bytes:
    """Read the encoded bytes of a picture.

    - `source`: a path, bytes, bytearray, memoryview, a data: URI, a mapping with "bytes" or "path", or a binary stream.
      A stream that can be rewound is read from its start.
    - `limits`: no more than `encoded_bytes` are read.

    Raises LimitError, OSError, TypeError or ValueError with a reason that does not name the source.
    """
    if isinstance(source, Mapping):
        source = _from_mapping(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        limits.check("encoded_bytes", memoryview(source).nbytes, "bytes")
        return source if isinstance(source, bytes) else bytes(source)
    if is_uri(source):
        return _from_uri(source, limits)
    if isinstance(source, (str, os.PathLike)):
        with open_regular_file(source) as file:
            limits.check("encoded_bytes", os.fstat(file.fileno()).st_size, "bytes")
            return _read_stream(file, limits)
    if not hasattr(source, "read"):
        raise TypeError(f"{type(source).__name__}, which is neither a path, nor bytes, nor a binary stream")
    _rewind(source)
    return _read_stream(source, limits)


def open_regular_file(path: PathLike) -> BinaryIO:
    """Open a file for reading, and raise OSError for anything but a regular file, without waiting for its other end."""
    _check_regular(os.stat(path))  # noqa: PTH116  (a path of any kind; opening a device may have effects)
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  (the caller closes it)
    try:
        _check_regular(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'something')}, which is no regular file")


def _open_without_waiting(path: str, flags: int) -> int:
    # the file may have become a FIFO since it was checked
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _from_mapping(source: Mapping[str, Any]) -> Any:
    """The bytes of a record as data sets write it, else its path."""
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key]
    raise TypeError(f"a record with {', '.join(map(str, source)) or 'no fields'}, without bytes or path")


def _from_uri(uri: str, limits: ImageLimits) -> bytes:
    """The data of a data: URI (RFC 2397)."""
    if uri[:5].lower() != "data:":
        raise ValueError("a URL: download it first")
    header, comma, payload = uri[5:].partition(",")
    if not comma:
        raise ValueError("a data: URI without a comma before its data")
    is_base64 = header.lower().endswith(";base64")
    limits.check("encoded_bytes", len(payload) * 3 // 4 if is_base64 else len(payload) // 3, "bytes")
    data = unquote_to_bytes(payload)
    if not is_base64:
        return data
    data = b"".join(data.split()).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a data: URI that is not base64: {error}") from error


def _rewind(stream: Any) -> None:
    try:
        stream.seek(0)
    except (AttributeError, OSError):  # a pipe or a response: read on from where it stands
        return


def _read_stream(stream: Any, limits: ImageLimits) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limits.encoded_bytes:
        part = stream.read(max(_READ_SIZE, limits.encoded_bytes + 1 - size) if not size else _READ_SIZE)
        if not part:
            break
        if not isinstance(part, bytes):
            raise TypeError(f"a stream of {type(part).__name__}, not of bytes")
        parts.append(part)
        size += len(part)
    limits.check("encoded_bytes", size, "bytes or more")
    return parts[0] if len(parts) == 1 else b"".join(parts)
