"""What a query adds to scores because of a product's columns: boosts by numbers, freshness by dates, words that match.

A boost of weight w by a column of numbers, or of true and false, adds

    w (2 q - 1)

where q, 0 to 1, is the quantile of the product's value among all products that have one: the share of them with a lower
value, and half the share with the same one. So the best product gains nearly w, the worst loses as much, and the mean
over the catalogue is 0. Freshness of weight w by a column of dates adds

    w 0.5 ** (age / half-life)

to a product, w for one of now or of the future. The words of a query's texts add w L, with L the mean word match
(`clipshelf.catalogue.lexical.word_index`) over the texts. Words count for relevance, the others do not.

A product without a value gains and loses nothing. All are on the scale of scores (`clipshelf.recommend.fusion`), whose
spread over a catalogue is about 1, and are not changed by the weights of signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from clipshelf.catalogue.lexical.word_index import Integers, WeighedToken, WordIndex, WordStatistics, weigh
from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.last_used import LastUsed
from clipshelf.recommend.word_matches import match_numbers, match_shares
from clipshelf.types import DoubleArray, FloatArray, Rows

_MATCHES_KEPT = 8
_MOST_COLUMNS = 128  # columns whose quantiles stay in memory, more than one query may have; clients may name any
BOOST_KINDS, FRESH_KINDS = ("number", "bool"), ("date",)


class Addition(NamedTuple):
    """What a query adds to the scores of all products by one column.

    - `weight`: not 0.
    - `half_life`, `now`: in seconds, for a column of dates; None for a boost.
    """

    column: str
    weight: float
    half_life: float | None = None
    now: float | None = None

    @property
    def name(self) -> str:
        """The name of its contributions, such as `boost popularity`."""
        return f"boost {self.column}" if self.half_life is None else f"fresh {self.column}"


class WordMatch(NamedTuple):
    """What the words of texts add to the scores of products that have them.

    - `texts`: the texts.
    - `tokens`: the tokens of all of them, as `clipshelf.catalogue.lexical.word_index.weigh` gives them.
    - `mean_length`: mean number of tokens of a product.
    """

    texts: tuple[str, ...]
    weight: float
    tokens: tuple[WeighedToken, ...]
    mean_length: float

    @classmethod
    def of(cls, texts: tuple[str, ...], weight: float, statistics: WordStatistics) -> WordMatch:
        """The match of texts with the words of all products."""
        tokens = tuple(token for text in texts for token in weigh(text, statistics))
        return cls(texts, weight, tokens, statistics.mean_length)

    @property
    def name(self) -> str:
        """The name of its contributions."""
        return "words"


Added: TypeAlias = Addition | WordMatch
# By the name of a column, (V + 1,) quantiles of its distinct values and of no value, see `quantiles_by_counts`.
Quantiles: TypeAlias = Callable[[str], DoubleArray]


def check_column(columns: Mapping[str, str], argument: str, name: str, kinds: tuple[str, ...]) -> None:
    """Raise InputError unless there is a column of one of some kinds.

    - `columns`: the kind of each column by name.
    - `argument`: of the query, for the message.
    """
    if columns.get(name) not in kinds:
        usable = sorted(column for column, kind in columns.items() if kind in kinds)
        found = f"{columns[name]} column {describe(name)}" if name in columns else describe(name)
        raise InputError(
            f"{argument}: expected a column of kind {' or '.join(kinds)} among {shorten_list(usable, 20) or 'none'}, "
            f"found {found}"
        )


def addition_values(additions: Sequence[Added], numbers: DoubleArray) -> DoubleArray:
    """(A, n) what each of A additions adds to the scores of n products, from the numbers (A, n) of `Booster`."""
    values = np.empty(numbers.shape)
    for line, addition, of_products in zip(values, additions, numbers, strict=True):
        if isinstance(addition, Addition) and addition.half_life is not None:
            line[:] = addition.weight * np.exp2(-_ages(addition, of_products))
        else:
            line[:] = addition.weight * of_products
    values += 0.0  # turns -0.0 into 0.0
    return values


def column_shares(addition: Addition, numbers: DoubleArray) -> FloatArray:
    """(n,) an addition of weight 1 for n products from their numbers, by which a search orders them."""
    if addition.half_life is None:
        return numbers.astype(np.float32)
    freshness: FloatArray = np.exp2(-_ages(addition, numbers).astype(np.float32))
    return freshness


def weighted_sum(additions: Iterable[Added], shares: Iterable[FloatArray]) -> FloatArray | None:
    """(n,) sum of additions for n products from their shares (n,) by addition, None for no additions."""
    total: FloatArray | None = None
    for addition, of_products in zip(additions, shares, strict=True):
        values = np.float32(addition.weight) * of_products
        total = values if total is None else np.add(total, values, out=total)
    return total


class Booster:
    """Works out additions for N products; it keeps columns in the form that they are added in, those used last.

    - `column`: opens the column of a name.
    - `words`: their index of words, None without one.
    - `count`: N.

    Its methods take `quantiles`, which gives what `quantiles_of` does for a column's name, always the same.
    """

    def __init__(self, column: Callable[[str], Column], words: WordIndex | None, count: int) -> None:
        self._column = column
        self._words = words
        self._count = count
        self._shares: LastUsed[str, FloatArray] = LastUsed(_MOST_COLUMNS)
        self._quantiles: LastUsed[str, DoubleArray] = LastUsed(_MOST_COLUMNS)
        self._seconds: LastUsed[str, DoubleArray] = LastUsed(_MOST_COLUMNS)
        self._last_matches: dict[tuple[WeighedToken, ...], list[tuple[Integers, FloatArray]]] = {}

    def offsets(self, additions: tuple[Added, ...], quantiles: Quantiles) -> FloatArray | None:
        """(N,) sum of additions for all products, None where there are none."""
        return weighted_sum(additions, (self._shares_of(addition, quantiles) for addition in additions))

    def numbers(self, additions: tuple[Added, ...], rows: Rows, quantiles: Quantiles) -> DoubleArray:
        """(A, n) what each of A additions has of n products: 2 q - 1, a time in seconds, or the word match."""
        numbers = np.empty((len(additions), len(rows)))
        for line, addition in zip(numbers, additions, strict=True):
            if isinstance(addition, WordMatch):
                line[:] = match_numbers(self._parts(addition), len(addition.texts), rows)
            else:
                line[:] = self._table(addition, quantiles)[self._column(addition.column).codes[rows]]
        return numbers

    def _parts(self, addition: WordMatch) -> list[tuple[Integers, FloatArray]]:
        """What each token of the texts adds. Those of the last texts stay in memory, for their contributions."""
        if self._words is None:
            return []
        parts = self._last_matches.get(addition.tokens)
        if parts is None:
            parts = self._words.parts(addition.tokens, addition.mean_length)
            while len(self._last_matches) >= _MATCHES_KEPT:
                self._last_matches.pop(next(iter(self._last_matches)), None)
            self._last_matches[addition.tokens] = parts
        return parts

    def _shares_of(self, addition: Added, quantiles: Quantiles) -> FloatArray:
        """(N,) addition of weight 1. That of a boost stays in memory."""
        if isinstance(addition, WordMatch):
            return match_shares(self._parts(addition), len(addition.texts), self._count)
        codes, table = self._column(addition.column).codes, self._table(addition, quantiles)
        if addition.half_life is not None:
            return column_shares(addition, table)[codes]
        return self._shares.get(addition.column, lambda: column_shares(addition, table)[codes])

    def _table(self, addition: Addition, quantiles: Quantiles) -> DoubleArray:
        """(V + 1,) quantiles or seconds of the distinct values; the last, which code -1 finds, is that of no value."""
        name = addition.column
        if addition.half_life is None:
            return self._quantiles.get(name, lambda: quantiles(name))
        return self._seconds.get(name, lambda: seconds_of(self._column(name)))


def _ages(addition: Addition, seconds: DoubleArray) -> DoubleArray:
    """(n,) ages in half-lives, at least 0, of n products with dates in seconds since 1970."""
    ages: DoubleArray = np.maximum(0, ((addition.now or 0.0) - seconds) / (addition.half_life or 1.0))
    return ages


def value_counts(column: Column) -> Rows:
    """(V,) how many products have each of the distinct values."""
    counts: Rows = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    return counts


def quantiles_of(column: Column) -> DoubleArray:
    """(V + 1,) 2 q - 1 of the distinct values, 0 for no value."""
    return quantiles_by_counts(value_counts(column))


def quantiles_by_counts(value_counts: Rows) -> DoubleArray:
    """(V + 1,) 2 q - 1 of V values, ascending, from the number of products that have each; 0 for no value."""
    counts = value_counts.astype(np.float64)
    below = np.cumsum(counts) - counts
    return np.append(2 * (below + counts / 2) / max(1.0, counts.sum()) - 1, 0.0)


def seconds_of(column: Column) -> DoubleArray:
    """(V + 1,) the distinct dates in seconds since 1970; minus infinity, which has no freshness left, for no value."""
    return np.append(np.array(column.values, "datetime64[us]").astype(np.int64) / 1e6, -np.inf)
