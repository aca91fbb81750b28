"""The keys of the pictures of products: each names the content of a picture."""

from __future__ import annotations

from clipshelf.catalogue.content_keys import Keys
from clipshelf.catalogue.contents import Contents
from clipshelf.catalogue.statistics import IMAGE
from clipshelf.types import Rows


def picture_keys(contents: Contents, rows: Rows) -> list[Keys]:
    """Return the keys (p, 16) of the p pictures of each of n products, from 1; `NO_KEY` for one that is missing."""
    parts = contents.parts
    return [
        contents.keys[row, 1][None] if position < 0 else parts.keys[parts.span(position)]
        for row, position in zip(rows.tolist(), parts.find(rows, IMAGE).tolist(), strict=True)
    ]


def picture_key(keys: Keys, index: int) -> bytes:
    """Return the key of one of the pictures of a product.

    - `keys`: (p, 16) of its pictures.
    - `index`: from 0. The record of a catalogue that somebody forged may have more pictures than keys.
    """
    return bytes(keys[min(index, len(keys) - 1)])
