"""An inverted index of the words of products, and their BM25 (Robertson and Zaragoza 2009, The probabilistic relevance
framework: BM25 and beyond).

The word match of product p with a query of tokens t is

    L(p) = sum c(t) idf(t) tf (K + 1) / (tf + K (1 - B + B length / mean length))  /  sum idf(t)
    idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5))

with tf the number of times that p has t, n the number of products with t, K = 1.2 and B = 0.75. c is 4 for a code, a
token of at least three characters with a digit among them, and 1 for others: who types a code looks for nothing else. L
is about 1 where p has every word once, 4 where it has a code, and 0 where it has nothing. A token that more than one in
eight products has, and more than 16, says little and does not count.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from clipshelf.cached import cached_property
from clipshelf.catalogue.lexical.tokens import is_code, query_tokens, token_key, tokens, whole_token
from clipshelf.types import DoubleArray, FloatArray, Product, Rows

K, B = 1.2, 0.75
_COMMON_AT_LEAST, _COMMON_ONE_IN = 16, 8
_CODE_WEIGHT = 4
_MOST_COUNTED = 255  # times that a product has a token

Integers = npt.NDArray[Any]


class WeighedToken(NamedTuple):
    """A token of a query, and what a product with it gains at the most: its part of L without the factor of tf.

    - `key`: see `clipshelf.catalogue.lexical.tokens.token_key`.
    """

    key: int
    weight: float


class WordStatistics(Protocol):
    """What BM25 needs to know of all products, wherever they are."""

    @property
    def count(self) -> int:
        """N, the number of products."""

    @property
    def mean_length(self) -> float:
        """Mean number of tokens of a product, at least 1."""

    def having(self, keys: Sequence[int]) -> Sequence[int]:
        """Return the numbers of products that have each of the tokens with n keys."""


def is_common(having: Integers, count: int) -> npt.NDArray[np.bool_]:
    """(n,) whether tokens that so many of `count` products have are too common to count."""
    common: npt.NDArray[np.bool_] = np.asarray(having > _most_having(count))
    return common


def _most_having(count: int) -> int:
    """How many of `count` products may have a token that counts."""
    return max(_COMMON_AT_LEAST, count // _COMMON_ONE_IN)


def weigh(text: str, statistics: WordStatistics) -> list[WeighedToken]:
    """The tokens of a query's text that some products have and that count, with their weights."""
    words, neighbours = query_tokens(text)
    tokens_of_query = [*words, *neighbours]
    keys = [token_key(token) for token in tokens_of_query]
    pairs = list(zip(tokens_of_query, statistics.having(keys) if keys else [], strict=True))
    total = 0.0
    counted: list[tuple[str, float]] = []
    for token, having in pairs[: len(words)] + [pair for pair in pairs[len(words) :] if pair[1]]:
        if having > _most_having(statistics.count):
            continue
        idf = math.log1p((statistics.count - having + 0.5) / (having + 0.5))
        total += idf
        if having:
            counted.append((token, idf * (_CODE_WEIGHT if is_code(token) else 1)))
    return [WeighedToken(token_key(token), weight / total) for token, weight in counted]


@dataclass(frozen=True)
class WordIndex:
    """The words of N products: V distinct tokens, P pairs of a token and a product that has it.

    - `keys`: (V,) uint64 keys of the tokens, ascending.
    - `starts`: (V + 1,) int64, where the pairs of each token start, and the end.
    - `rows`: (P,) int32, the product of each pair, ascending for each token.
    - `counts`: (P,) uint8, how often it has the token; 255 for more.
    - `lengths`: (N,) int32, the number of tokens of each product.
    """

    keys: Integers
    starts: Integers
    rows: Integers
    counts: Integers
    lengths: Integers

    @classmethod
    def of(cls, products: Iterable[Product], columns: Sequence[str]) -> WordIndex:
        """Index the words of some columns of N products."""
        key_of = lru_cache(1 << 20)(token_key)
        keys, rows, counts, lengths = array("Q"), array("i"), array("i"), array("i")
        for row, product in enumerate(products):
            found = _tokens_of(product, columns)
            lengths.append(found.total())
            keys.extend(map(key_of, found))
            counts.extend(found.values())
            rows.extend([row] * len(found))
        all_keys, all_rows = np.array(keys, np.uint64), np.array(rows, np.int32)
        all_counts = np.minimum(np.array(counts, np.int64), _MOST_COUNTED).astype(np.uint8)
        order = np.argsort(all_keys, kind="stable")
        return cls.of_pairs(all_keys[order], all_rows[order], all_counts[order], np.array(lengths, np.int32))

    @classmethod
    def of_pairs(cls, keys: Integers, rows: Integers, counts: Integers, lengths: Integers) -> WordIndex:
        """The index of P pairs of a token and a product, in the order of tokens' keys and then of rows.

        - `keys`: (P,) uint64, the key of each pair's token. The others are the fields of the index.
        """
        distinct, firsts = np.unique(keys, return_index=True)
        return cls(distinct, np.append(firsts, len(keys)).astype(np.int64), rows, counts, lengths)

    @property
    def pair_keys(self) -> Integers:
        """(P,) uint64, the key of each pair's token."""
        return np.repeat(self.keys, np.diff(self.starts))

    def equals(self, other: WordIndex) -> bool:
        """Whether both indices have the same arrays."""
        return all(np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    @property
    def count(self) -> int:
        """N."""
        return len(self.lengths)

    @cached_property
    def mean_length(self) -> float:
        """Mean number of tokens of a product, at least 1."""
        return max(1.0, float(self.lengths.mean())) if len(self.lengths) else 1.0

    def having(self, keys: Sequence[int]) -> list[int]:
        """Return the numbers of products that have each of the tokens with n keys."""
        return [stop - start for start, stop in map(self._span, keys)]

    def match(self, text: str) -> tuple[Rows, DoubleArray]:
        """The word matches of a query: rows (n,), ascending, of products that have any of it, and L (n,) of each."""
        parts = self.parts(weigh(text, self), self.mean_length)
        if not parts:
            return np.empty(0, np.int64), np.empty(0)
        found, positions = np.unique(np.concatenate([rows for rows, _ in parts]), return_inverse=True)
        values = np.concatenate([values for _, values in parts])
        return found.astype(np.int64), np.bincount(positions, values, len(found)).astype(np.float64, copy=False)

    def parts(self, tokens: Iterable[WeighedToken], mean_length: float) -> list[tuple[Integers, FloatArray]]:
        """What each token adds to L: the rows (n,), ascending, of products that have it, and values (n,).

        - `tokens`: as `weigh` gives them; those that no product has are left out.
        - `mean_length`: of all products that the tokens were weighed for.
        """
        spans = [(*self._span(token.key), np.float32(token.weight)) for token in tokens]
        return [
            (self.rows[start:stop], weight * self.shares(start, stop, mean_length))
            for start, stop, weight in spans
            if stop > start
        ]

    def shares(self, start: int, stop: int, mean_length: float) -> FloatArray:
        """The factor of tf (n,) in the match of each pair from `start` to `stop`; below K + 1."""
        counts = self.counts[start:stop].astype(np.float32)
        weights = self.lengths[self.rows[start:stop]].astype(np.float32)
        weights *= np.float32(K * B / mean_length)
        weights += np.float32(K * (1 - B))
        weights += counts
        counts *= np.float32(K + 1)
        counts /= weights
        return counts

    def _span(self, key: int) -> tuple[int, int]:
        """Where the pairs of a token start and end; both are 0 for a token that no product has."""
        position = int(np.searchsorted(self.keys, np.uint64(key)))
        if position == len(self.keys) or self.keys[position] != key:
            return 0, 0
        return int(self.starts[position]), int(self.starts[position + 1])


def _tokens_of(product: Product, columns: Sequence[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for column in columns:
        value = product.get(column)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool) or not isinstance(item, (str, int, float)):
                continue
            text = str(item)
            words = list(tokens(text))
            found.update(words)
            if column != "text" and (whole := whole_token(text)) and whole not in words:
                found[whole] += 1
    return found
