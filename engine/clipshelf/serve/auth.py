"""Bearer keys from a file.

A line of the file is `NAME KEY`, then `write` for a key that may change products, and `rate=N` for requests per second
other than those of --rate. Empty lines and those that begin with # are skipped.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clipshelf.errors import InputError
from clipshelf.files import read_regular

_LEAST_LENGTH = 16  # characters of a key, so that it cannot be guessed
_SCHEME = "bearer "
_MOST_BYTES = 1 << 24  # of a file of keys


@dataclass(frozen=True)
class Key:
    """Who may send requests.

    - `name`: for limits and logs.
    - `digest`: SHA-256 of the key; the key itself is not kept.
    - `may_write`: whether products may be changed.
    - `rate`: requests per second, None for that of the service.
    """

    name: str
    digest: bytes
    may_write: bool = False
    rate: float | None = None


class KeyRing:
    """The keys of a service."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read a file of keys; raises InputError that names a bad line, and never shows a key, and OSError."""
        try:
            lines = read_regular(path, _MOST_BYTES).decode().splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{path}: expected keys in UTF-8, found other bytes") from None
        keys = [
            _key(f"{path}, line {number}", line.split())
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not keys:
            raise InputError(f"{path}: expected lines of NAME KEY, found none")
        if len({key.name for key in keys}) < len(keys) or len({key.digest for key in keys}) < len(keys):
            raise InputError(f"{path}: expected each name and each key once, found one twice")
        return cls(keys)

    def find(self, authorization: str) -> Key | None:
        """The key that a header `Authorization` has, None for none or another.

        The time does not depend on which key it is, nor on how much of it is right: digests are compared, all of them.
        """
        token = authorization[len(_SCHEME) :].strip() if authorization[: len(_SCHEME)].lower() == _SCHEME else ""
        digest = _digest(token)
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _key(where: str, words: Sequence[str]) -> Key:
    """The key of a line's words."""
    if len(words) < 2 or len(words[1]) < _LEAST_LENGTH or not words[1].isascii():
        raise InputError(
            f"{where}: expected NAME and a KEY of {_LEAST_LENGTH} characters of ASCII or more, found another form"
        )
    name, secret, *options = words
    may_write, rate = False, None
    for option in options:
        label, _, value = option.partition("=")
        if option == "write":
            may_write = True
        elif label == "rate" and _is_rate(value):
            rate = float(value)
        else:
            raise InputError(f"{where}: expected write or rate=N after the key, found another word")
    return Key(name, _digest(secret), may_write, rate)


def _is_rate(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
