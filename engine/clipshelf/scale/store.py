"""A sharded catalogue as a store of products: every shard searches, and what they find is merged exactly.

A shard's candidates of one pattern of sides are its best by (score, row). The best of all shards' together are the best
of the union, since scores do not depend on the shard and rows are in the order of the union. So the candidates here are
those of one catalogue with all products, in the same order; all that follows is computed from them in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from clipshelf.catalogue.contents import present_sides
from clipshelf.catalogue.filtering.conditions import Where, check_where
from clipshelf.catalogue.filtering.filter_parser import parse_where
from clipshelf.catalogue.filtering.filter_words import split_terms, to_words
from clipshelf.catalogue.ids import product_id
from clipshelf.catalogue.lexical.word_index import WordStatistics
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.statistics import Statistics
from clipshelf.catalogue.typed_columns.inference import infer
from clipshelf.recommend.store import Candidates, Search, Selection, Sides
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.columns import ShardedColumns
from clipshelf.scale.selections import GroupOf, LeftOut, ShardCandidates, ShardedSelection
from clipshelf.scale.shards import Method, Shards, require_all
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
        self._shards = shards
        self._columns = ShardedColumns(catalogue.manifest.kinds, self._declare)
        # Boosts and groups need what is pooled of a column, which fields of records have not.
        self._pooled_columns = ShardedColumns(catalogue.manifest.kinds, lambda _: "")
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
        """The kind of each column by name, for boosts and groups; filters see fields of records, too."""
        return self._pooled_columns

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
        for shard, matches in require_all(self._shards.call("find", arguments), arguments).items():
            rows[positions[shard]] = matches.rows
            if matches.embeddings is not None:
                self._seen.put(matches.rows[matches.rows >= 0], matches.embeddings)
        return rows

    def select(self, where: Where | str | None) -> ShardedSelection:
        """The products that a filter lets through; raises InputError."""
        if where is None:
            return ShardedSelection(count=len(self))
        parsed = self.parsed(where)
        # The shards would find the same faults. Without products it takes no time to find them here.
        check_where(parsed, self._columns)
        return self._counted(ShardedSelection(parsed, self._columns.dotted()))

    def count_passing(self, where: Where | str) -> dict[str, int]:
        """How many products each term of a filter lets through."""
        parsed = self.parsed(where)
        selection, terms = ShardedSelection(parsed, self._columns.dotted()), list(split_terms(parsed))
        counts = self._all("count_passing", selection, terms)
        sums = np.sum([*counts.values(), [0] * len(terms)], axis=0).tolist()
        return dict(zip(map(to_words, terms), sums, strict=True))

    def parsed(self, where: Where | str) -> Where:
        """A filter in words as a dict of conditions; raises InputError."""
        return parse_where(where, self._columns) if isinstance(where, str) else where

    def value(self, row: int, name: str) -> Any:
        """The value of one product that `it.NAME` stands for; raises InputError."""
        shard = row % self._catalogue.shards
        return require_all(self._shards.call("value", {shard: (name, row)}), {shard: 0})[shard]

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
        results = self._all("search", list(searches))
        missing = frozenset(range(self._catalogue.shards)) - results.keys()
        return [
            self._merged([of_shard[i] for of_shard in results.values()], search, missing)
            for i, search in enumerate(searches)
        ]

    def fetch(self, rows: Rows) -> Sides:
        """The sides of n products."""
        embeddings, unknown = self._seen.take(rows, 2 * self.dim)
        if len(unknown):
            fetched = self._by_shard("fetch", rows[unknown] % self._catalogue.shards, rows[unknown], np.float32)
            embeddings[unknown] = fetched
            self._seen.put(rows[unknown], fetched)
        return Sides(embeddings, present_sides(embeddings))

    def parts(self, rows: Rows) -> SideParts:
        """The pictures and texts of n products that have several."""
        parts = self._by_shard("parts", rows % self._catalogue.shards, rows, object).tolist()
        return SideParts.joined(parts, [1] * len(parts))

    def records(self, rows: Rows) -> list[Product]:
        """The records of n products."""
        records = self._sent.take(rows)
        unknown = np.array([position for position, record in enumerate(records) if record is None], np.int64)
        fetched = self._by_shard("records", rows[unknown] % self._catalogue.shards, rows[unknown], object)
        for position, record in zip(unknown.tolist(), fetched.tolist(), strict=True):
            records[position] = record
        return records

    def picture_keys(self, ids: Sequence[str]) -> list[bytes]:
        """The keys of the pictures of each of n products, joined."""
        keys = self._pictures.take(ids)
        unknown = [id_ for id_, of_product in zip(ids, keys, strict=True) if of_product is None]
        owners = shards_of(unknown, self._catalogue.shards)
        fetched = self._by_shard("picture_keys", owners, _objects(unknown), object).tolist()
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
            counts = self._all("count_below", _sharded(selection), middle)
            below = sum(require_all(counts, dict.fromkeys(range(self._catalogue.shards))).values())
            low, high = np.where(below <= ranks, middle, low), np.where(below <= ranks, high, middle)
        by_shard = require_all(self._all("rows_of", low), dict.fromkeys(range(self._catalogue.shards)))
        rows: Rows = np.max([*by_shard.values()], axis=0)
        return rows

    def group_values(self, name: str, rows: Rows) -> list[Any]:
        """The values (n,) of a column that groups."""
        owners = rows % self._catalogue.shards
        return self._by_shard("group_values", owners, rows, object, name).tolist()  # type: ignore[no-any-return]

    def without_groups(self, selection: Selection, name: str, rows: Rows) -> ShardedSelection:
        """A selection without the groups that some products belong to."""
        values = tuple(dict.fromkeys(value for value in self.group_values(name, rows) if value is not None))
        sharded = _sharded(selection)
        return replace(sharded, left_out=(*sharded.left_out, LeftOut(name, values, rows)))

    def others(self, selection: Selection, excluded: AbstractSet[int], name: str, row: int) -> ShardedSelection:
        """The other products of the group of a row that a selection has and that are not excluded."""
        [value] = self.group_values(name, np.array([row]))
        sharded = _sharded(selection)
        all_excluded = frozenset((*sharded.excluded, *excluded, row))
        return self._counted(replace(sharded, group=GroupOf(name, value, row), excluded=all_excluded))

    def _merged(self, parts: Sequence[ShardCandidates], search: Search, missing: AbstractSet[int]) -> Candidates:
        """The best candidates of all shards: for each pattern of sides as many as the search asks for."""
        if not parts:
            numbers = np.empty((len(search.additions), 0))
            return Candidates(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.float32), numbers, missing)
        candidates = [part.candidates for part in parts]
        rows = np.concatenate([of_part.rows for of_part in candidates])
        patterns = np.concatenate([of_part.patterns for of_part in candidates])
        scores = np.concatenate([of_part.scores for of_part in candidates])
        order = np.lexsort((rows, -scores, patterns))
        starts = np.searchsorted(patterns[order], patterns[order])  # where the pattern of each begins
        best = order[np.arange(len(order)) - starts < search.count]
        numbers = np.concatenate([of_part.numbers for of_part in candidates], axis=1)[:, best]
        self._seen.put(rows[best], np.concatenate([part.embeddings for part in parts])[best])
        records = [record for part in parts for record in part.records]
        if records:
            chosen = [records[position] for position in best.tolist()]
            self._sent.put(rows[best].tolist(), chosen)
            pictures = [keys for part in parts for keys in part.pictures]
            self._pictures.put([record["id"] for record in chosen], [pictures[position] for position in best.tolist()])
        return Candidates(rows[best], patterns[best], scores[best], numbers, missing)

    def _counted(self, selection: ShardedSelection) -> ShardedSelection:
        counts = self._all("count", selection)
        missing = frozenset(range(self._catalogue.shards)) - counts.keys()
        return replace(selection, count=sum(counts.values()), missing=selection.missing | missing)

    def _all(self, method: Method, *arguments: Any) -> dict[int, Any]:
        return self._shards.call(method, dict.fromkeys(range(self._catalogue.shards), arguments))

    def _by_shard(self, method: Method, owners: Rows, items: Any, dtype: Any, *first: Any) -> Any:
        """Results (n, ...) of a method for n items, each asked of its shard."""
        positions = {shard: np.flatnonzero(owners == shard) for shard in np.unique(owners).tolist()}
        arguments = {shard: (*first, items[of_shard]) for shard, of_shard in positions.items()}
        results = require_all(self._shards.call(method, arguments), arguments)
        shape = (len(items), *(2 * self.dim,) * (method == "fetch"))
        joined = np.empty(shape, dtype)
        for shard, of_shard in positions.items():
            joined[of_shard] = results[shard] if dtype is not object else _objects(results[shard])
        return joined

    def _declare(self, name: str) -> str:
        """The declaration of a dotted column by the values of all shards, "" where none has such a field."""
        parts = require_all(self._all("evidence", name), dict.fromkeys(range(self._catalogue.shards)))
        evidence = reduce(add, parts.values())
        if not evidence:
            return ""
        inferred = infer(name, evidence)
        return inferred.declaration or inferred.kind


def _sharded(selection: Selection) -> ShardedSelection:
    if not isinstance(selection, ShardedSelection):
        raise TypeError(f"selection: expected one of this store, found {type(selection).__name__}")
    return selection


def _objects(items: Sequence[Any]) -> Any:
    """Items, which may be lists themselves, as an array (n,) of objects."""
    array = np.empty(len(items), object)
    array[:] = items
    return array
