"""A sharded catalogue as a store of products: every shard searches, and what they find is merged exactly.

A shard's candidates of one pattern of sides are its best by (score, row). The best of all shards' together are the best
of the union, since scores do not depend on the shard and rows are in the order of the union. So the candidates here are
those of one catalogue with all products, in the same order; all that follows is computed from them in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np

from clipshelf.catalogue.contents import present_sides
from clipshelf.catalogue.filtering.conditions import Where, check_where, tested_columns
from clipshelf.catalogue.filtering.filter_parser import parse_where
from clipshelf.catalogue.filtering.filter_words import split_terms, to_words
from clipshelf.catalogue.filtering.relative import check_reference
from clipshelf.catalogue.ids import product_id
from clipshelf.catalogue.lexical.word_index import WordStatistics
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import Statistics
from clipshelf.recommend.store import Candidates, Search, Selection, Sides
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.merging import merge
from clipshelf.scale.pooled_fields import PooledFields
from clipshelf.scale.searching import search_shards
from clipshelf.scale.selections import GroupOf, LeftOut, ShardCandidates, ShardedSelection
from clipshelf.scale.shard_calls import ShardCalls
from clipshelf.scale.shards import Shards
from clipshelf.scale.store_caches import SeenPictures, SeenRows, SentRecords
from clipshelf.types import FloatArray, Product, Rows

_MOST_BYTES = 1 << 26  # of embeddings that were seen last


class ShardedStore:
    """`clipshelf.recommend.store.ProductStore` over shards.

    - `catalogue`: what is pooled over them.
    - `shards`: calls them.
    """

    def __init__(self, catalogue: ShardedCatalogue, shards: Shards) -> None:
        self._catalogue = catalogue
        self._calls = ShardCalls(shards, catalogue.shards)
        self._fields = PooledFields(catalogue.manifest.kinds, self._calls.require_all)
        self._sent = SentRecords()
        self._pictures = SeenPictures()
        self._seen = SeenRows(_MOST_BYTES // (8 * catalogue.dim))

    def __len__(self) -> int:
        return len(self._catalogue)

    @property
    def dim(self) -> int:
        """D, the width of one side."""
        return self._catalogue.dim

    @property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        return self._catalogue.manifest.statistics

    @property
    def columns(self) -> Mapping[str, str]:
        """The kind of each column by name, as filters see them."""
        return self._fields.columns

    @property
    def words(self) -> WordStatistics | None:
        """What the index of words says of all products."""
        return self._catalogue.words

    @property
    def relevance_curve(self) -> RelevanceCurve | None:
        """What was fitted to the shop's own queries."""
        return self._catalogue.manifest.relevance_curve

    def sample(self) -> FloatArray:
        """Embeddings (n, 2D) of products evenly spaced over the rows."""
        return self._catalogue.sample

    def find(self, ids: Sequence[str]) -> Rows:
        """The (n,) rows of n ids, -1 for one that is not there."""
        texts = [id_ if type(id_) is str else product_id(id_) for id_ in ids]
        owners = shards_of(texts, self._catalogue.shards)
        positions = {shard: np.flatnonzero(owners == shard) for shard in np.unique(owners).tolist()}
        arguments = {shard: ([texts[i] for i in of_shard.tolist()],) for shard, of_shard in positions.items()}
        rows = np.full(len(texts), -1, np.int64)
        for shard, matches in self._calls.require_some("find", arguments).items():
            rows[positions[shard]] = matches.rows
            if matches.embeddings is not None:
                self._seen.put(matches.rows[matches.rows >= 0], matches.embeddings)
        return rows

    def select(self, where: Where | str | None) -> ShardedSelection:
        """The products that a filter lets through; raises InputError."""
        if where is None:
            return ShardedSelection(count=len(self))
        parsed = self.parsed(where)
        return self._counted(self._passing(parsed))

    def count_passing(self, where: Where | str) -> dict[str, int]:
        """How many products each term of a filter lets through."""
        parsed = self.parsed(where)
        selection = self._passing(parsed)  # checks it before it is split
        terms = list(split_terms(parsed))
        counts = self._calls.all("count_passing", selection, terms)
        sums = np.sum([*counts.values(), [0] * len(terms)], axis=0).tolist()
        return dict(zip(map(to_words, terms), sums, strict=True))

    def parsed(self, where: Where | str) -> Where:
        """A filter in words as a dict of conditions; raises InputError."""
        return parse_where(where, self.columns) if isinstance(where, str) else where

    def value(self, row: int, name: str) -> Any:
        """The value of one product that `it.NAME` stands for; raises InputError."""
        check_reference(self.columns, name)
        shard = row % self._catalogue.shards
        arguments = {shard: (name, self._fields.columns.of_records([name]), row)}
        return self._calls.require_some("value", arguments)[shard]

    def count(self, selection: Selection, excluded: AbstractSet[int]) -> int:
        """The number of products of a selection that are not excluded."""
        sharded = _sharded(selection)
        if not excluded:
            return sharded.count
        if sharded.where is None:
            return sharded.count - len(excluded)
        return self._counted(replace(sharded, excluded=frozenset(excluded) | sharded.excluded)).count

    def search(self, searches: Sequence[Search]) -> list[Candidates]:
        """The candidates of each search."""
        results = search_shards(self._calls, self._fields, searches)
        missing = self._calls.missing(results)
        return [
            self._candidates([of_shard[i] for of_shard in results.values()], search, missing)
            for i, search in enumerate(searches)
        ]

    def fetch(self, rows: Rows) -> Sides:
        """The sides of n products."""
        embeddings, unknown = self._seen.take(rows, 2 * self.dim)
        if len(unknown):
            fetched = self._calls.rows_of_items("fetch", self._owners(rows[unknown]), rows[unknown], 2 * self.dim)
            embeddings[unknown] = fetched
            self._seen.put(rows[unknown], fetched)
        return Sides(embeddings, present_sides(embeddings))

    def parts(self, rows: Rows) -> SideParts:
        """The pictures and texts of n products that have several."""
        parts = self._calls.of_items("parts", self._owners(rows), rows)
        return SideParts.joined(parts, [1] * len(parts))

    def records(self, rows: Rows) -> list[Product]:
        """The records of n products."""
        records = self._sent.take(rows)
        unknown = np.array([position for position, record in enumerate(records) if record is None], np.int64)
        fetched = self._calls.of_items("records", self._owners(rows[unknown]), rows[unknown])
        for position, record in zip(unknown.tolist(), fetched, strict=True):
            records[position] = record
        return records

    def picture_keys(self, ids: Sequence[str]) -> list[bytes]:
        """The keys of the pictures of each of n products, joined."""
        keys = self._pictures.take(ids)
        unknown = [id_ for id_, of_product in zip(ids, keys, strict=True) if of_product is None]
        owners = shards_of(unknown, self._catalogue.shards)
        fetched = self._calls.of_items("picture_keys", owners, np.array(unknown, object))
        self._pictures.put(unknown, fetched)
        by_id = dict(zip(unknown, fetched, strict=True))
        return [by_id[id_] if of_product is None else of_product for id_, of_product in zip(ids, keys, strict=True)]

    def rows_at(self, selection: Selection, ranks: Rows) -> Rows:
        """The (n,) rows of the products at n ranks of a selection, from 0, in the order of rows.

        Shards only count: the ordinal of each product is the greatest below which there are at most as many selected
        products as its rank says, and is found by halving the range where it can be.
        """
        low, high = np.zeros_like(ranks), np.full_like(ranks, self._catalogue.manifest.next_ordinal)
        while (high - low > 1).any():
            middle = (low + high) // 2
            below = sum(self._calls.require_all("count_below", _sharded(selection), middle).values())
            low, high = np.where(below <= ranks, middle, low), np.where(below <= ranks, high, middle)
        rows: Rows = np.max([*self._calls.require_all("rows_of", low).values()], axis=0)
        return rows

    def group_values(self, name: str, rows: Rows) -> list[Any]:
        """The values (n,) of a column that groups."""
        of_records = self._fields.columns.of_records([name])
        return self._calls.of_items("group_values", self._owners(rows), rows, name, of_records)

    def without_groups(self, selection: Selection, name: str, rows: Rows) -> ShardedSelection:
        """A selection without the groups that some products belong to."""
        values = tuple(dict.fromkeys(value for value in self.group_values(name, rows) if value is not None))
        sharded = self._naming(_sharded(selection), name)
        return replace(sharded, left_out=(*sharded.left_out, LeftOut(name, values, rows)))

    def others(self, selection: Selection, excluded: AbstractSet[int], name: str, row: int) -> ShardedSelection:
        """The other products of the group of a row that a selection has and that are not excluded."""
        [value] = self.group_values(name, np.array([row]))
        sharded = self._naming(_sharded(selection), name)
        all_excluded = frozenset((*sharded.excluded, *excluded, row))
        return self._counted(replace(sharded, group=GroupOf(name, value, row), excluded=all_excluded))

    def _candidates(self, parts: Sequence[ShardCandidates], search: Search, missing: AbstractSet[int]) -> Candidates:
        """The candidates of all shards. What came with them is remembered."""
        candidates, embeddings, records, pictures = merge(parts, search, missing)
        self._seen.put(candidates.rows, embeddings)
        if records:
            self._sent.put(candidates.rows.tolist(), records)
            self._pictures.put([record["id"] for record in records], pictures)
        return candidates

    def _passing(self, where: Where) -> ShardedSelection:
        """What a filter lets through, not counted yet; raises InputError.

        The shards would find the same faults in it. Without products it takes no time to find them here.
        """
        names = tested_columns(check_where(where, self.columns))
        return ShardedSelection(where, self._fields.columns.of_records(names))

    def _naming(self, selection: ShardedSelection, name: str) -> ShardedSelection:
        """A selection that may name one more column."""
        return replace(selection, of_records={**selection.of_records, **self._fields.columns.of_records([name])})

    def _counted(self, selection: ShardedSelection) -> ShardedSelection:
        counts = self._calls.all("count", selection)
        missing = selection.missing | self._calls.missing(counts)
        return replace(selection, count=sum(counts.values()), missing=missing)

    def _owners(self, rows: Rows) -> Rows:
        """The shards (n,) of n rows."""
        owners: Rows = rows % self._catalogue.shards
        return owners


def _sharded(selection: Selection) -> ShardedSelection:
    if not isinstance(selection, ShardedSelection):
        raise TypeError(f"selection: expected one of this store, found {type(selection).__name__}")
    return selection
