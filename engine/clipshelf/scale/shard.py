"""One shard that answers: its products, its ranker, and what is pooled over all shards.

A row of the sharded catalogue is `ordinal * shards + shard`: rows are in the order of the union of all products, and
each says where its product is.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.column_summaries import ValueCounts, count_values
from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.filtering.relative import product_value
from clipshelf.catalogue.picture_keys import picture_keys
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, gather_evidence
from clipshelf.errors import CatalogueError
from clipshelf.recommend.catalogue_store import MaskedRows, TableStore
from clipshelf.recommend.groups import Grouping
from clipshelf.recommend.store import Candidates, Search
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.opening import open_shard, read_ordinals
from clipshelf.scale.pooled_files import PooledFile
from clipshelf.scale.pooled_table import PooledContents, PooledTable
from clipshelf.scale.pooling import quantiles_name
from clipshelf.scale.selections import IdMatches, ShardCandidates, ShardedSelection
from clipshelf.types import DoubleArray, FloatArray, Mask, Product, Rows

_MASKS_KEPT = 16  # of filters that were used last
_MOST_NAMES = 1024  # dotted names whose evidence is remembered; clients may ask for any
_MOST_VALUES = 1 << 16  # of a column whose counts are remembered
# What is sent unasked, since a further call takes longer: embeddings of products that ids name, records of candidates.
_SENT_WITH_IDS, _SENT_WITH_CANDIDATES = 256, 64


class Shard:
    """Opens one shard of a sharded catalogue and answers for it; its methods take and return rows of the whole.

    - `folder`: of the sharded catalogue.
    - `number`: of the shard, from 0.
    - `manifest`: of the generation, which may be the one before that of the folder.
    - `threads`: of one search, None for all CPUs.

    Raises CatalogueError for files that are not as the manifest says.
    """

    def __init__(self, folder: Path, number: int, manifest: ShardedManifest, threads: int | None = None) -> None:
        self._number, self._shards = number, len(manifest.shards)
        self._catalogue = open_shard(folder, manifest, number)
        self._contents = PooledContents(self._catalogue.contents, manifest.kinds, manifest.declarations)
        self._ordinals = read_ordinals(folder, manifest, number)
        self._quantiles = PooledFile(folder / manifest.pooled_folder, quantiles_name(number), manifest.files)
        columns = {name: f"column{i}" for i, name in enumerate(manifest.kinds)}
        self._table = PooledTable(self._contents, {})
        self._store = TableStore(self._table, threads, lambda name: self._quantile_table(name, columns[name]))
        self._masks: OrderedDict[str, MaskedRows] = OrderedDict()
        self._groupings: dict[str, Grouping] = {}
        self._evidence: dict[str, ColumnEvidence] = {}
        self._value_counts: dict[str, ValueCounts] = {}

    def find(self, ids: Sequence[str]) -> IdMatches:
        """The products of n ids."""
        local = self._table.find(ids)
        is_match = local >= 0
        rows = np.full(len(local), -1, np.int64)
        rows[is_match] = self._global(local[is_match])
        if len(local) > _SENT_WITH_IDS:
            return IdMatches(rows, None)
        return IdMatches(rows, self._store.fetch(local[is_match]).embeddings)

    def fetch(self, rows: Rows) -> FloatArray:
        """Embeddings (n, 2D) of n products."""
        return self._store.fetch(self._local(rows)).embeddings

    def parts(self, rows: Rows) -> list[SideParts]:
        """The pictures and texts of each of n products, where it has several."""
        local = self._local(rows)
        return [self._store.parts(local[i : i + 1]) for i in range(len(local))]

    def records(self, rows: Rows) -> list[Product]:
        """The records of n products."""
        return self._store.records(self._local(rows))

    def group_values(self, name: str, rows: Rows) -> list[Any]:
        """The values (n,) of a column, None for a product without one."""
        return self._store.group_values(name, self._local(rows))

    def value(self, name: str, row: int) -> Any:
        """The value of one product that `it.NAME` stands for; raises InputError."""
        return product_value(self._table.columns, int(self._local(np.array([row]))[0]), name)

    def evidence(self, name: str) -> ColumnEvidence:
        """What the values of a dotted column are evidence of; reads all records the first time."""
        evidence = self._evidence.get(name)
        if evidence is None:
            evidence = gather_evidence(self._table.columns.dotted_fields(name)).get(name, ColumnEvidence())
            if len(self._evidence) < _MOST_NAMES:
                self._evidence[name] = evidence
        return evidence

    def count(self, selection: ShardedSelection) -> int:
        """The number of products of a selection."""
        return self._masked(selection).count

    def count_below(self, selection: ShardedSelection, ordinals: Rows) -> Rows:
        """How many products (n,) of a selection have smaller ordinals than each of n."""
        mask = self._masked(selection).mask
        selected = self._ordinals if mask is None else self._ordinals[mask]
        return np.searchsorted(selected, ordinals).astype(np.int64)

    def rows_of(self, ordinals: Rows) -> Rows:
        """The (n,) rows of n ordinals, -1 for one of another shard."""
        local = np.searchsorted(self._ordinals, ordinals)
        is_match = np.append(self._ordinals, -1)[local] == ordinals
        return np.where(is_match, ordinals * self._shards + self._number, -1)

    def count_values(self, name: str) -> ValueCounts:
        """How many products have each value of a column; reads all of it the first time."""
        counts = self._value_counts.get(name)
        if counts is None:
            counts = count_values(self._contents, name)
            if len(counts.values) <= _MOST_VALUES:
                self._value_counts[name] = counts
        return counts

    def picture_keys(self, ids: Sequence[str]) -> list[bytes]:
        """The keys of the pictures of each of n products of the shard, joined."""
        return picture_keys(self._contents, self._table.find(ids))

    def count_passing(self, selection: ShardedSelection, terms: Sequence[Where]) -> list[int]:
        """How many products each of several filters lets through."""
        return [self.count(replace(selection, where=term)) for term in terms]

    def search(self, searches: Sequence[Search]) -> list[ShardCandidates]:
        """The candidates of each search, with selections of `ShardedSelection`."""
        masks: dict[int, MaskedRows] = {}
        local = []
        for search in searches:
            selection = search.selection
            if not isinstance(selection, ShardedSelection):
                raise TypeError(f"selection: expected ShardedSelection, found {type(selection).__name__}")
            if id(selection) not in masks:
                masks[id(selection)] = self._masked(selection)
            excluded = frozenset(self._local_of(search.excluded).tolist())
            local.append(replace(search, selection=masks[id(selection)], excluded=excluded))
        candidates = self._store.search(local)
        return [self._answer(of_search, search.count) for search, of_search in zip(searches, candidates, strict=True)]

    def warm(self) -> None:
        """Search once, so that the first query does not read the matrix."""
        row = np.zeros(2 * self._contents.dim, np.float32)
        all_rows = MaskedRows(None, len(self._table))
        self._store.search([Search(row, all_rows, frozenset(), (), 1, np.ones(4))])

    def _answer(self, candidates: Candidates, count: int) -> ShardCandidates:
        """What is sent for a search of `count` candidates."""
        rows, has_records = candidates.rows, count <= _SENT_WITH_CANDIDATES
        return ShardCandidates(
            replace(candidates, rows=self._global(rows)),
            self._store.fetch(rows).embeddings,
            self._store.records(rows) if has_records else [],
            picture_keys(self._contents, rows) if has_records else [],
        )

    def _masked(self, selection: ShardedSelection) -> MaskedRows:
        """The products of a selection in this shard."""
        masked = self._filtered(selection)
        if not selection.left_out and selection.group is None and not selection.excluded:
            return masked
        mask: Mask = np.ones(len(self._table), np.bool_) if masked.mask is None else masked.mask.copy()
        for left_out in selection.left_out:
            mask &= ~self._grouping(left_out.column).has_any(left_out.values)
            mask[self._local_of(left_out.rows.tolist())] = False
        if selection.group is not None:
            column, value, row = selection.group
            members = np.zeros(len(self._table), np.bool_)
            if value is None:
                members[self._local_of([row])] = True
            else:
                members = self._grouping(column).has_any([value])
            mask &= members
        mask[self._local_of(selection.excluded)] = False
        return MaskedRows(mask, int(np.count_nonzero(mask)))

    def _filtered(self, selection: ShardedSelection) -> MaskedRows:
        """What the filter of a selection lets through."""
        if selection.where is None:
            return MaskedRows(None, len(self._table))
        key = json.dumps([selection.where, selection.dotted], default=str)
        masked = self._masks.get(key)
        if masked is None:
            table = PooledTable(self._contents, dict(selection.dotted)) if selection.dotted else self._table
            mask = table.mask(selection.where)
            masked = self._masks[key] = MaskedRows(mask, int(np.count_nonzero(mask)))
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return masked

    def _grouping(self, name: str) -> Grouping:
        if name not in self._groupings:
            self._groupings[name] = Grouping(self._table.columns.column(name))
        return self._groupings[name]

    def _quantile_table(self, name: str, member: str) -> DoubleArray:
        values = self._table.columns.column(name).values
        table: DoubleArray = self._quantiles.member(member, "<f8", (len(values) + 1,))
        if not (np.abs(table) <= 1).all():
            raise CatalogueError(f"{self._quantiles.path}: expected quantiles of {name} from -1 to 1, found others")
        return table

    def _local_of(self, rows: AbstractSet[int] | Sequence[int]) -> Rows:
        """Local rows of those of some rows that are in this shard."""
        all_rows = np.fromiter(rows, np.int64, len(rows))
        return self._local(all_rows[all_rows % self._shards == self._number])

    def _local(self, rows: Rows) -> Rows:
        return np.searchsorted(self._ordinals, rows // self._shards).astype(np.int64)

    def _global(self, local: Rows) -> Rows:
        rows: Rows = self._ordinals[local] * self._shards + self._number
        return rows
