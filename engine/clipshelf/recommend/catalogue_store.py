"""A catalogue as a store of products: the ranker finds candidates, masks and columns are those of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import filterfalse, islice
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.filtering.relative import product_value
from clipshelf.catalogue.lexical.word_index import WordStatistics
from clipshelf.catalogue.product_table import ProductTable
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import Statistics, sample_rows
from clipshelf.last_used import LastUsed
from clipshelf.rank.ranker import Ranker
from clipshelf.recommend.boosts import Booster, Quantiles, quantiles_of
from clipshelf.recommend.calibration import COMPLETE, side_patterns
from clipshelf.recommend.groups import Grouping
from clipshelf.recommend.store import SAMPLE, Candidates, Search, Selection, Sides
from clipshelf.types import DoubleArray, FloatArray, Mask, Product, Rows

# Excluded products from which on masking them costs less than finding as many candidates more.
_MASK_EXCLUDED_FROM = 1000
_MOST_GROUPINGS = 128  # that stay in memory; clients may name any column


@dataclass(frozen=True)
class MaskedRows:
    """The products of a catalogue that a mask (N,) allows, None for all; `count` of them."""

    mask: Mask | None
    count: int
    missing: AbstractSet[int] = frozenset()


class TableStore:
    """Searches one table of products.

    - `table`: N products.
    - `threads`: of one search.
    - `provider`: whose device scans the rows, see `clipshelf.rank.ranker.Ranker`.
    """

    def __init__(self, table: ProductTable, threads: int | None, provider: str | None = None) -> None:
        self._table = table
        self._embeddings = np.asarray(table.embeddings)  # a memory map without the price of its subclass
        self._present = table.present
        self._ranker = Ranker(self._embeddings, threads=threads, provider=provider)
        self._booster = Booster(table.columns.column, table.words, len(table))
        self._patterns = side_patterns(self._present)
        # Scores of products with the same sides differ from the ranker's by a constant and a factor for each query, so
        # the ranker's order holds among them. Each pattern is therefore searched for by itself.
        self._patterns_searched: list[int] = np.unique(self._patterns).tolist() or [COMPLETE]
        self._pattern_masks: list[Mask | None] = (
            [None]
            if len(self._patterns_searched) < 2
            else [self._patterns == pattern for pattern in self._patterns_searched]
        )
        self._groupings: LastUsed[str, Grouping] = LastUsed(_MOST_GROUPINGS)

    def __len__(self) -> int:
        return len(self._table)

    def select(self, where: Where | str | None) -> MaskedRows:
        """The products that a filter lets through, all for None; raises InputError."""
        if where is None:
            return MaskedRows(None, len(self))
        mask = self._table.mask(where)
        return MaskedRows(mask, int(np.count_nonzero(mask)))

    def count(self, selection: Selection, excluded: AbstractSet[int]) -> int:
        """The number of products of a selection that are not excluded."""
        mask = _mask(selection)
        if mask is None:
            return selection.count - len(excluded)
        return selection.count - int(np.count_nonzero(mask[[*excluded]]))

    def fetch(self, rows: Rows) -> Sides:
        """The sides of n products."""
        return Sides(self._embeddings.take(rows, axis=0), self._present[rows])

    def parts(self, rows: Rows) -> SideParts:
        """The pictures and texts of n products that have several."""
        return self._table.contents.parts.take(rows)

    def records(self, rows: Rows) -> list[Product]:
        """The records of n products."""
        return self._table.records(rows)

    def group_values(self, name: str, rows: Rows) -> list[Any]:
        """The values (n,) of a column, None for a product without one."""
        return self.grouping(name).values(rows)

    def without_groups(self, selection: Selection, name: str, rows: Rows) -> MaskedRows:
        """A selection without the groups that some products belong to."""
        mask = self.grouping(name).without(_mask(selection), rows)
        return MaskedRows(mask, int(np.count_nonzero(mask)))

    def others(self, selection: Selection, excluded: AbstractSet[int], name: str, row: int) -> MaskedRows:
        """The other products of the group of a row that a selection has and that are not excluded."""
        members = self.grouping(name).members(row)
        allowed = self._without(_mask(selection), excluded)
        mask = np.zeros(len(self), np.bool_)
        mask[members[allowed[members]]] = True
        mask[row] = False
        return MaskedRows(mask, int(np.count_nonzero(mask)))

    def without(self, selection: Selection, excluded: AbstractSet[int]) -> MaskedRows:
        """A selection without some rows."""
        if not excluded:
            return MaskedRows(_mask(selection), selection.count)
        mask = self._without(_mask(selection), excluded)
        return MaskedRows(mask, int(np.count_nonzero(mask)))

    def grouping(self, name: str) -> Grouping:
        """The groups of the products by a column of one of the kinds `GROUP_KINDS`."""
        return self._groupings.get(name, lambda: Grouping(self._table.columns.column(name)))

    def search(self, searches: Sequence[Search]) -> list[Candidates]:
        """The candidates of each search."""
        return self.search_with(self._quantiles, searches)

    def search_with(self, quantiles: Quantiles, searches: Sequence[Search]) -> list[Candidates]:
        """The candidates of each search; those that share a selection share the matrix products.

        - `quantiles`: of the values of a column by its name, always the same.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, search in enumerate(searches):
            masked_alone = i if len(search.excluded) > _MASK_EXCLUDED_FROM else None
            # What is added counts in the unit of a product's scores, which the factors of a query change.
            added_alone = i if search.additions and self._patterns_searched != [COMPLETE] else None
            groups.setdefault((id(search.selection), masked_alone, added_alone, search.additions), []).append(i)
        found: dict[int, Candidates] = {}
        for (_, masked_alone, *_), members in groups.items():
            group = self._search([searches[i] for i in members], masked_alone is not None, quantiles)
            found |= zip(members, group, strict=True)
        return [found[i] for i in range(len(searches))]

    def _search(self, searches: Sequence[Search], masks_excluded: bool, quantiles: Quantiles) -> list[Candidates]:
        """The candidates of searches with the same selection and additions."""
        first = searches[0]
        mask = _mask(first.selection)
        spare = max(len(search.excluded) for search in searches)
        if masks_excluded:
            mask, spare = self._without(mask, first.excluded), 0
        queries = np.array([search.row for search in searches])
        count = spare + max(search.count for search in searches)
        offsets = self._booster.offsets(first.additions, quantiles)
        parts: list[list[tuple[list[int], list[float]]]] = [[] for _ in searches]
        for pattern, pattern_mask in zip(self._patterns_searched, self._pattern_masks, strict=True):
            scale = float(first.side_factors[pattern])
            scores, best = self._top(queries, count, _both(mask, pattern_mask), offsets, scale)
            for part, search, line, rows in zip(parts, searches, scores.tolist(), best.tolist(), strict=True):
                part.append(_allowed(rows, line, search))
        return [self._candidates(part, search, quantiles) for part, search in zip(parts, searches, strict=True)]

    def _candidates(
        self, parts: Sequence[tuple[list[int], list[float]]], search: Search, quantiles: Quantiles
    ) -> Candidates:
        rows = np.array([row for part, _ in parts for row in part], np.int64)
        scores = np.array([score for _, part in parts for score in part], np.float32)
        numbers = self._booster.numbers(search.additions, rows, quantiles)
        return Candidates(rows, self._patterns[rows], scores, numbers)

    def _top(
        self, queries: FloatArray, count: int, mask: Mask | None, offsets: FloatArray | None, scale: float
    ) -> tuple[FloatArray, Rows]:
        """The best products of queries (Q, 2D) by `scale` times the inner product, plus an offset (N,)."""
        if offsets is not None and scale > 0:
            offsets = offsets if scale == 1 else offsets / np.float32(scale)
        elif offsets is not None:
            queries = np.zeros_like(queries)
        return self._ranker.top_k(queries, count, mask, offsets)

    def _without(self, mask: Mask | None, excluded: AbstractSet[int]) -> Mask:
        allowed = np.ones(len(self), bool) if mask is None else mask.copy()
        allowed[[*excluded]] = False
        return allowed

    def _quantiles(self, name: str) -> DoubleArray:
        return quantiles_of(self._table.columns.column(name))


class CatalogueStore(TableStore):
    """A whole catalogue as a `clipshelf.recommend.store.ProductStore`; `threads` and `provider` are for one search."""

    def __init__(self, catalogue: Catalogue, threads: int | None, provider: str | None = None) -> None:
        super().__init__(catalogue, threads, provider)
        self._catalogue = catalogue

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self._catalogue.dim

    @property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        return self._catalogue.statistics

    @property
    def columns(self) -> Mapping[str, str]:
        """The kind of each column by name."""
        return self._catalogue.columns

    @property
    def words(self) -> WordStatistics | None:
        """The index of words, None without one."""
        return self._catalogue.words

    @property
    def relevance_curve(self) -> RelevanceCurve | None:
        """What was fitted to the shop's own queries."""
        return self._catalogue.relevance_curve

    def sample(self) -> FloatArray:
        """Embeddings (n, 2D) of products evenly spaced over the rows."""
        return self._embeddings[sample_rows(len(self), SAMPLE)]

    def find(self, ids: Sequence[str]) -> Rows:
        """The (n,) rows of n ids, -1 for one that is not there."""
        return self._catalogue.find(ids)

    def count_passing(self, where: Where | str) -> dict[str, int]:
        """How many products each term of a filter lets through."""
        return self._catalogue.count_passing(where)

    def parsed(self, where: Where | str) -> Where:
        """A filter in words as a dict of conditions."""
        return self._catalogue.parsed(where)

    def value(self, row: int, name: str) -> Any:
        """The value of one product that `it.NAME` stands for."""
        return product_value(self._catalogue.columns, row, name)


def _mask(selection: Selection) -> Mask | None:
    """The mask of a selection of this store; raises TypeError for one of another."""
    if not isinstance(selection, MaskedRows):
        raise TypeError(f"selection: expected one of this store, found {type(selection).__name__}")
    return selection.mask


def _allowed(rows: Sequence[int], scores: Sequence[float], search: Search) -> tuple[list[int], list[float]]:
    """The rows of a search that are not excluded, and their scores."""
    if not search.excluded:
        return list(rows[: search.count]), list(scores[: search.count])
    positions = filterfalse(lambda position: rows[position] in search.excluded, range(len(rows)))
    chosen = list(islice(positions, search.count))
    return [rows[position] for position in chosen], [scores[position] for position in chosen]


def _both(mask: Mask | None, other: Mask | None) -> Mask | None:
    if mask is None or other is None:
        return other if mask is None else mask
    return mask & other
