"""Batches of tokenised texts: parts of the same length share a batch, and the parts of a long text are pooled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from clipshelf.errors import InputError
from clipshelf.types import FloatArray, TokenIds
from clipshelf.workers import batches

MAX_TEXT = 1_000_000  # characters


def check_text(index: int, text: object) -> str | InputError:
    """`text` itself, or the error of an item that is no Unicode text of at most MAX_TEXT characters.

    `index` is its position, for the message.
    """
    if not isinstance(text, str):
        return InputError(f"texts[{index}]: expected str, found {type(text).__name__}")
    if len(text) > MAX_TEXT:
        return InputError(f"texts[{index}]: expected at most {MAX_TEXT:,} characters, found {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return InputError(f"texts[{index}]: expected Unicode text, found a lone surrogate at {error.start}")
    return text


def group_by_length(parts: Sequence[TokenIds], batch_size: int) -> Iterator[list[int]]:
    """Positions of parts that have the same length, at most `batch_size` at a time."""
    # NumPy's unique would take longer than everything else that a single text does under the interpreter's lock.
    positions: dict[int, list[int]] = {}
    for position, part in enumerate(parts):
        positions.setdefault(len(part), []).append(position)
    for group in positions.values():
        yield from batches(group, batch_size)


def pool_parts(embeds: FloatArray, lengths: Sequence[int], counts: Sequence[int]) -> FloatArray:
    """One embedding for each of n texts: the mean of its parts, weighted by their tokens, of unit norm.

    - `embeds`, `lengths`: (P, D) embeddings and (P,) numbers of tokens of the parts of all texts in turn.
    - `counts`: (n,) numbers of parts; a single part stays as it is.

    Returns (n, D).
    """
    pooled = np.empty((len(counts), embeds.shape[1]), np.float32)
    for row, (count, end) in enumerate(zip(counts, np.cumsum(counts), strict=True)):
        if count == 1:
            pooled[row] = embeds[end - 1]
            continue
        parts = slice(end - count, end)
        pooled[row] = np.array(lengths[parts], np.float32) @ embeds[parts]
        pooled[row] /= np.linalg.norm(pooled[row])
    return pooled
