"""The word index of a generation on disk: a file for each of its arrays.

words-keys.<gen>.npy      uint64 (V,), the keys of the tokens, ascending
words-starts.<gen>.npy    int64 (V + 1,), where the pairs of each token start, and the end
words-rows.<gen>.npy      int32 (P,), the product of each pair
words-counts.<gen>.npy    uint8 (P,), how often it has the token
words-lengths.<gen>.npy   int32 (N,), the number of tokens of each product
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from clipshelf.catalogue.disk.checksummed import BlockReader
from clipshelf.catalogue.lexical.word_index import Integers, WordIndex
from clipshelf.errors import CatalogueError

_TYPES = {"keys": "<u8", "starts": "<i8", "rows": "<i4", "counts": "|u1", "lengths": "<i4"}


def word_arrays(index: WordIndex) -> Iterator[tuple[str, Integers]]:
    """The role of each file, and its array."""
    for name in _TYPES:
        yield f"words-{name}", getattr(index, name)


def read_words(readers: Mapping[str, BlockReader], count: int) -> WordIndex:
    """Open the word index of N products, memory-mapped, and check it, so that no query finds a row that is not there.

    Raises CatalogueError naming the file that is not as one is written.
    """
    arrays: dict[str, Integers] = {}
    for name, dtype in _TYPES.items():
        reader = readers.get(f"words-{name}")
        if reader is None:
            raise CatalogueError(f"manifest.json: files: expected one of words-{name}, found none")
        arrays[name] = np.asarray(reader.array([dtype], (count,) if name == "lengths" else (None,)))
    index = WordIndex(**arrays)
    problem = _problem(index, count)
    if problem:
        raise CatalogueError(f"{readers['words-keys'].path}: expected an index of words, found {problem}")
    return index


def _problem(index: WordIndex, count: int) -> str:
    """What is wrong with an index, "" for nothing."""
    pairs = len(index.rows)
    if len(index.starts) != len(index.keys) + 1 or len(index.counts) != pairs:
        return "arrays of other lengths"
    if index.starts[0] != 0 or index.starts[-1] != pairs or (index.starts[1:] < index.starts[:-1]).any():
        return "starts that are not sorted"
    if (index.keys[1:] <= index.keys[:-1]).any():
        return "tokens that are not sorted"
    if pairs and (index.rows.min() < 0 or index.rows.max() >= count):
        return f"rows outside of {count} products"
    return "negative lengths" if count and index.lengths.min() < 0 else ""
