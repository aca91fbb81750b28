"""Sums of word matches over tokens, in the arithmetic that gives the same bits wherever postings are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from clipshelf.catalogue.lexical.word_index import Integers
from clipshelf.types import DoubleArray, FloatArray, Rows

# For each token of some texts in turn: the rows (n,), ascending, of products that have it, and what it adds (n,).
TokenParts: TypeAlias = Sequence[tuple[Integers, FloatArray]]


def match_shares(parts: TokenParts, texts: int, count: int) -> FloatArray:
    """(N,) mean word match over `texts` texts of N products, by which a search orders them."""
    shares = np.zeros(count, np.float32)
    for rows, matches in parts:
        shares[rows] += matches
    return shares / np.float32(texts) if texts > 1 else shares


def match_numbers(parts: TokenParts, texts: int, rows: Rows) -> DoubleArray:
    """(n,) mean word match over `texts` texts of n products, from which scores are computed."""
    total = np.zeros(len(rows))
    for owners, matches in parts:
        positions = np.minimum(np.searchsorted(owners, rows.astype(owners.dtype)), len(owners) - 1)
        total += np.where(owners[positions] == rows, matches[positions], 0.0)
    return total / texts
