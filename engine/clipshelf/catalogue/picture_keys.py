"""The keys of the pictures of products: each names the content of a picture."""

from __future__ import annotations

from clipshelf.catalogue.content_keys import KEY_SIZE
from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.statistics import IMAGE
from clipshelf.types import Rows


def picture_keys(contents: Contents, rows: Rows) -> list[bytes]:
    """Return the keys of the pictures of each of n products, joined; `NO_KEY` for a product without one."""
    parts = contents.parts
    single = contents.keys[rows, 1]
    return [
        (single[i] if position < 0 else parts.keys[parts.span(position)]).tobytes()
        for i, position in enumerate(parts.find(rows, IMAGE).tolist())
    ]


def picture_key(keys: bytes, index: int) -> bytes:
    """Return the key of one of the pictures of a product.

    - `keys`: of its pictures, joined.
    - `index`: from 0. The record of a catalogue that somebody forged may have more pictures than keys.
    """
    start = KEY_SIZE * min(index, len(keys) // KEY_SIZE - 1)
    return keys[start : start + KEY_SIZE]
