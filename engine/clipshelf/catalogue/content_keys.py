"""Keys of content: 16 bytes of SHA-256 over an id, a text or a picture, and an index that finds them.

Equal keys mean equal content, so that what is embedded already is found by its key. A key of 16 zero bytes, `NO_KEY`,
stands for a side that a product lacks and for content that cannot be read twice; it equals no other key.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf.files import open_regular
from clipshelf.types import Rows

Keys: TypeAlias = npt.NDArray[np.uint8]

KEY_SIZE = 16
NO_KEY = bytes(KEY_SIZE)
# A larger file is no picture that an engine takes unless it was told to; it is not read for its key.
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class KnownPicture:
    """A picture that is not at hand, and need not be: its embedding is known by its `key`, 16 bytes."""

    key: bytes


def text_key(text: object) -> bytes:
    """Return the key of a text, `NO_KEY` for anything but Unicode text."""
    try:
        return _key(b"text", text.encode()) if isinstance(text, str) else NO_KEY
    except UnicodeEncodeError:
        return NO_KEY


def image_key(source: object) -> bytes:
    """Return the key of a picture.

    - `source`: a path, whose file is read, or bytes, or a dict that has them, or a URI, or an array, or a
      `KnownPicture`.

    Returns `NO_KEY` for a file that cannot be read, is no regular file or is very large, and for an open file or
    another object that can be read only once.
    """
    if isinstance(source, KnownPicture):
        return source.key
    if isinstance(source, Mapping):
        source = source.get("bytes")
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _key(b"uri", source.encode("utf-8", "surrogatepass"))
    if isinstance(source, (str, os.PathLike)):
        return _file_key(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _key(b"image", bytes(source))
    if isinstance(source, np.ndarray) and source.dtype != object:
        return _key(b"array", repr((source.shape, source.dtype.str)).encode(), source.tobytes())
    return NO_KEY


def _file_key(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            is_large = os.fstat(file.fileno()).st_size > _MOST_BYTES
            return NO_KEY if is_large else _key(b"image", file.read())
    except (OSError, ValueError):
        return NO_KEY


def parts_key(keys: Keys, falloff: float) -> bytes:
    """Return the key of a side of n parts that have the keys (n, 16) and this falloff; `NO_KEY` if one has none."""
    return _key(b"parts", repr(falloff).encode(), keys.tobytes()) if keys.any(axis=1).all() else NO_KEY


def id_keys(ids: Iterable[str]) -> Keys:
    """Return the (n, 16) uint8 keys of n ids; one with a lone surrogate, which no product has, gets a key too."""
    return stack_keys(_key(b"id", id_.encode("utf-8", "surrogatepass")) for id_ in ids)


def stack_keys(keys: Iterable[bytes]) -> Keys:
    """Return n keys as one (n, 16) uint8 array."""
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_SIZE)


class KeyIndex:
    """Finds keys among N keys.

    - `keys`: (N, 16) uint8.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        prefixes = _prefixes(keys)
        self._order = np.argsort(prefixes, kind="stable")
        self._sorted = prefixes[self._order]

    def find(self, keys: Keys) -> Rows:
        """Return the (n,) int64 row of each of n keys (n, 16), -1 for a key that is not there and for `NO_KEY`."""
        if not len(self._keys) or not len(keys):
            return np.full(len(keys), -1, np.int64)
        prefixes = _prefixes(keys)
        positions = np.searchsorted(self._sorted, prefixes)
        while True:
            inside = positions < len(self._sorted)
            rows = self._order[np.where(inside, positions, 0)]
            same_prefix = inside & (self._sorted[np.where(inside, positions, 0)] == prefixes)
            same = same_prefix & (self._keys[rows] == keys).all(axis=1)
            # Different keys may share a prefix: look at the next position.
            if not (collisions := same_prefix & ~same).any():
                return np.where(same & keys.any(axis=1), rows, -1)
            positions += collisions


def _prefixes(keys: Keys) -> npt.NDArray[Any]:
    """(n,) the first 8 bytes of each key as one integer."""
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]


def _key(kind: bytes, *parts: bytes) -> bytes:
    for part in parts:
        kind += b"\0%d\0%b" % (len(part), part)
    return hashlib.sha256(kind).digest()[:KEY_SIZE]
