"""Embedding products: both sides, a bounded number at a time, nothing that is known already."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.content_keys import NONE, SIZE, Keys, as_keys, id_keys, image_key, text_key
from clipshelf.catalogue.disk.journal import Journal, Known
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.model.engine import Engine
from clipshelf.runtime.cpus import available_cpus
from clipshelf.types import FloatArray, Product
from clipshelf.workers import Workers

Progress = Callable[[int, int], object]

_CHUNK = 128


@dataclass(frozen=True)
class Memory:
    """What needn't be embedded again: `known` embeddings of either side, and a journal to keep new ones in."""

    known: Sequence[Known] = ()
    journal: Journal | None = None


@dataclass
class Embedded:
    """n products' matrix (n, 2D) float32, their keys (n, 3, 16) uint8, and by row why some couldn't be embedded."""

    matrix: FloatArray
    keys: Keys
    bad: dict[int, str] = field(default_factory=dict)


def embed_products(
    engine: Engine,
    products: Sequence[Product],
    root: Path,
    memory: Memory,
    *,
    on_error: str,
    progress: Progress | None = None,
) -> Embedded:
    """Embed products; a side that one lacks is zeros, and so is one that is bad.

    With `on_error="raise"` the first bad product raises InputError, after what came before it went to the journal.
    """
    count, dim = len(products), engine.dim
    result = Embedded(np.zeros((count, 2 * dim), np.float32), np.zeros((count, 3, SIZE), np.uint8))
    result.keys[:, 0] = id_keys(product["id"] for product in products)
    images, texts = _Side(result, 0, engine.embed_images, memory), _Side(result, 1, engine.embed_texts, memory)
    readers = Workers(available_cpus())
    for start in range(0, count, _CHUNK):
        chunk = range(start, min(start + _CHUNK, count))
        pictured = [row for row in chunk if "image" in products[row]]
        pictures = [locate(products[row]["image"], root) for row in pictured]
        keys = as_keys(readers.map_ahead(image_key, pictures, depth=_CHUNK))
        images.fill(pictured, pictures, keys)
        described = [row for row in chunk if "text" in products[row]]
        words = [products[row]["text"] for row in described]
        texts.fill(described, words, as_keys(map(text_key, words)))
        if result.bad and on_error == "raise":
            first = min(result.bad)
            raise InputError(f"product {products[first]['id']!r}: {result.bad[first]}")
        if progress is not None:
            progress(chunk.stop, count)
    return result


def locate(image: Any, root: Path) -> Any:
    """Where a picture is: relative paths start from `root`; anything but a path is itself."""
    return root / image if isinstance(image, (str, os.PathLike)) else image


class _Side:
    """Fills one side, images or texts, of a result."""

    def __init__(self, result: Embedded, side: int, embed: Callable[..., FloatArray], memory: Memory) -> None:
        dim = result.matrix.shape[1] // 2
        self._rows = result.matrix[:, side * dim : (side + 1) * dim]
        self._keys = result.keys[:, 1 + side]
        self._bad = result.bad
        self._embed = embed
        self._memory = memory
        self._seen: dict[bytes, int] = {}

    def fill(self, rows: Sequence[int], sources: Sequence[Any], keys: Keys) -> None:
        """Embed the sources of some rows, but one that is known or that an earlier row has in common."""
        if not rows:
            return
        embeds = np.zeros((len(rows), self._rows.shape[1]), np.float32)
        known = np.zeros(len(rows), bool)
        for one in self._memory.known:
            known |= one.fill(keys, embeds)
        firsts = [
            self._seen.setdefault(key, row) if key != NONE else row
            for row, key in zip(rows, map(bytes, keys), strict=True)
        ]
        new = [i for i, row in enumerate(rows) if firsts[i] == row and not known[i]]
        failures: list[Failure] = []
        embeds[new] = self._embed([sources[i] for i in new], on_error=failures.append)
        self._bad.update({rows[new[failure.index]]: failure.reason for failure in failures})
        self._rows[rows], self._keys[rows] = embeds, keys
        for row, first in zip(rows, firsts, strict=True):
            self._rows[row] = self._rows[first]
            if first in self._bad:
                self._bad[row] = self._bad[first]
        if self._memory.journal is not None:
            good = [i for i in new if rows[i] not in self._bad and bytes(keys[i]) != NONE]
            self._memory.journal.append(keys[good], embeds[good])
