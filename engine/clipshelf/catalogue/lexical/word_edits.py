"""The index of words after an edit, without reading the words of the products that stayed as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.types import Product, Rows


@dataclass(frozen=True)
class IndexedWords:
    """An index of words from before an edit, and which of its products are left.

    - `index`: of the products before.
    - `origins`: (N,) for each product now, the row that it had before; -1 for one that is new or has other words. Rows
      from before ascend.
    """

    index: WordIndex
    origins: Rows

    def index_now(self, products: Sequence[Product], columns: Sequence[str]) -> WordIndex:
        """The index of N products now, with the same arrays as `WordIndex.of`."""
        fresh = np.flatnonzero(self.origins < 0)
        if not len(fresh) and len(self.origins) == self.index.count:
            return self.index
        stayed = np.flatnonzero(self.origins >= 0)
        rows_now = np.full(self.index.count, -1, np.int32)
        rows_now[self.origins[stayed]] = stayed
        added = WordIndex.of([products[row] for row in fresh.tolist()], columns)
        old_rows = rows_now[self.index.rows]
        remains = old_rows >= 0
        keys = np.concatenate((self.index.pair_keys[remains], added.pair_keys))
        rows = np.concatenate((old_rows[remains], fresh.astype(np.int32)[added.rows]))
        counts = np.concatenate((self.index.counts[remains], added.counts))
        lengths = np.empty(len(self.origins), np.int32)
        lengths[stayed] = self.index.lengths[self.origins[stayed]]
        lengths[fresh] = added.lengths
        order = np.lexsort((rows, keys))
        return WordIndex.of_pairs(keys[order], rows[order], counts[order], lengths)


def same_words(old: Product, new: Product, columns: Sequence[str]) -> bool:
    """Whether two records have the same values in the columns whose words are indexed.

    Equal values of different types, such as 1 and 1.0, have different words.
    """
    return all(repr(old.get(column)) == repr(new.get(column)) for column in columns)
