"""Keys: 16 bytes of SHA-256 over an id or over what is embedded, and the search for them.

Equal keys mean equal content. A key of zeros stands for nothing, or for content that can't be read twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = npt.NDArray[np.uint8]

SIZE = 16
NONE = bytes(SIZE)


def text_key(text: object) -> bytes:
    """Key of a text; NONE for what is no Unicode text."""
    try:
        return _key(b"text", text.encode()) if isinstance(text, str) else NONE
    except UnicodeEncodeError:
        return NONE


def image_key(source: object) -> bytes:
    """Key of a picture's file, bytes or array; NONE for one that can't be read or can be read only once."""
    if isinstance(source, (str, os.PathLike)):
        try:
            return _key(b"image", Path(source).read_bytes())
        except (OSError, ValueError):
            return NONE
    if isinstance(source, bytes):
        return _key(b"image", source)
    if isinstance(source, np.ndarray) and source.dtype != object:
        return _key(b"array", repr((source.shape, source.dtype.str)).encode(), source.tobytes())
    return NONE


def id_keys(ids: Iterable[str]) -> Keys:
    """(n, 16) uint8 keys of ids."""
    return as_keys(_key(b"id", id_.encode()) for id_ in ids)


def as_keys(parts: Iterable[bytes]) -> Keys:
    """(n, 16) uint8 from n keys."""
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, SIZE)


class KeyIndex:
    """Finds keys among (N, 16) uint8 keys."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        prefixes = _prefixes(keys)
        self._order = np.argsort(prefixes, kind="stable")
        self._sorted = prefixes[self._order]

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """(n,) row of each of n keys, -1 for one that isn't there and for NONE."""
        if not len(self._keys) or not len(keys):
            return np.full(len(keys), -1, np.int64)
        wanted = _prefixes(keys)
        places = np.searchsorted(self._sorted, wanted)
        while True:
            inside = places < len(self._sorted)
            rows = self._order[np.where(inside, places, 0)]
            near = inside & (self._sorted[np.where(inside, places, 0)] == wanted)
            same = near & (self._keys[rows] == keys).all(axis=1)
            if not (twins := near & ~same).any():
                return np.where(same & keys.any(axis=1), rows, -1)
            places += twins


def _prefixes(keys: Keys) -> npt.NDArray[Any]:
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]


def _key(kind: bytes, *parts: bytes) -> bytes:
    for part in parts:
        kind += b"\0%d\0%b" % (len(part), part)
    return hashlib.sha256(kind).digest()[:SIZE]
