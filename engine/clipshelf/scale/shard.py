"""One shard that answers: its products, its ranker, and what is pooled over all shards.

A row of the sharded catalogue is `ordinal * shards + shard`: rows are in the order of the union of all products, and
each says where its product is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.column_summaries import ValueCounts, count_values
from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.filtering.filter_columns import nfc
from clipshelf.catalogue.filtering.relative import product_value
from clipshelf.catalogue.picture_keys import picture_keys
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, gather_evidence
from clipshelf.catalogue.typed_columns.kinds import kind_of
from clipshelf.errors import CatalogueError
from clipshelf.last_used import LastUsed
from clipshelf.recommend.boosts import BOOST_KINDS, Quantiles
from clipshelf.recommend.catalogue_store import MaskedRows, TableStore
from clipshelf.recommend.store import Candidates, Search, Selection
from clipshelf.scale.distinct_values import DistinctValues
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.opening import open_shard, read_ordinals
from clipshelf.scale.pooled_files import PooledFile
from clipshelf.scale.pooled_table import PooledContents, PooledTable
from clipshelf.scale.pooling import quantiles_name
from clipshelf.scale.selections import AddedFields, IdMatches, LackedQuantiles, ShardCandidates, ShardedSelection
from clipshelf.scale.shard_masks import ShardMasks
from clipshelf.types import DoubleArray, FloatArray, Product, Rows

_MOST_NAMES = 1024  # dotted names whose evidence is remembered; clients may ask for any
_MOST_QUANTILES = 128  # dotted columns whose quantiles are remembered
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
        self._pooled = PooledFile(folder / manifest.pooled_folder, quantiles_name(number), manifest.files)
        self._members = {nfc(name): f"column{i}" for i, name in enumerate(manifest.kinds)}  # of the pooled file
        self._sent_quantiles: LastUsed[str, DoubleArray] = LastUsed(_MOST_QUANTILES)
        self._table = PooledTable(self._contents)
        self._store = TableStore(self._table, threads)
        self._masks = ShardMasks(self._table, self._store.grouping, self._local_of)
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

    def group_values(self, name: str, of_records: Mapping[str, str], rows: Rows) -> list[Any]:
        """The values (n,) of a column, None for a product without one.

        - `of_records`: its declaration if it is read from records, else none.
        """
        self._table.require(of_records)
        return self._store.group_values(name, self._local(rows))

    def value(self, name: str, of_records: Mapping[str, str], row: int) -> Any:
        """The value of one product that `it.NAME` stands for; raises InputError. `of_records` as in `group_values`."""
        self._table.require(of_records)
        return product_value(self._table.columns, int(self._local(np.array([row]))[0]), name)

    def evidence(self, name: str) -> ColumnEvidence:
        """What the values of a dotted column are evidence of; reads all records the first time."""
        evidence = self._evidence.get(name)
        if evidence is None:
            evidence = gather_evidence(self._table.columns.dotted_fields(name)).get(name, ColumnEvidence())
            if len(self._evidence) < _MOST_NAMES:
                self._evidence[name] = evidence
        return evidence

    def count_field(self, name: str, declaration: str) -> DistinctValues:
        """How many products have each value of a dotted column of single values; reads all records the first time."""
        self._table.read({name: declaration})
        return DistinctValues.of(self._table.columns.column(name))

    def read_columns(self, declarations: Mapping[str, str]) -> None:
        """Read columns from the records, for the methods that raise ColumnsUnread without them."""
        self._table.read(declarations)

    def count(self, selection: ShardedSelection) -> int:
        """The number of products of a selection."""
        self._table.require(selection.of_records)
        return self._masks.masked(selection).count

    def count_below(self, selection: ShardedSelection, ordinals: Rows) -> Rows:
        """How many products (n,) of a selection have smaller ordinals than each of n."""
        self._table.require(selection.of_records)
        mask = self._masks.masked(selection).mask
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

    def search(self, searches: Sequence[Search], fields: AddedFields) -> list[ShardCandidates] | LackedQuantiles:
        """The candidates of each search, with selections of `ShardedSelection`; or which quantiles must be sent along.

        - `fields`: the dotted columns by which they add to scores.
        """
        quantiles = self._quantiles_for(fields)
        if isinstance(quantiles, LackedQuantiles):
            return quantiles
        selections = {id(search.selection): _sharded(search.selection) for search in searches}
        named = [fields.declarations, *(selection.of_records for selection in selections.values())]
        self._table.require({name: declared for each in named for name, declared in each.items()})
        masks = {key: self._masks.masked(selection) for key, selection in selections.items()}
        local = []
        for search in searches:
            excluded = frozenset(self._local_of(search.excluded).tolist())
            local.append(replace(search, selection=masks[id(search.selection)], excluded=excluded))
        candidates = self._store.search_with(quantiles, local)
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

    def _quantiles_for(self, fields: AddedFields) -> Quantiles | LackedQuantiles:
        """The quantiles of columns by name, those of dotted ones as they were sent now or before."""
        for name, sent in fields.quantiles.items():
            self._sent_quantiles.put(name, sent)
        boosting = [name for name, declared in fields.declarations.items() if kind_of(declared) in BOOST_KINDS]
        tables = {name: fields.quantiles.get(name, self._sent_quantiles.find(name)) for name in boosting}
        if lacked := tuple(name for name, table in tables.items() if table is None):
            return LackedQuantiles(lacked)

        def quantiles(name: str) -> DoubleArray:
            table = tables.get(nfc(name))
            return self._stored_quantiles(name) if table is None else table

        return quantiles

    def _stored_quantiles(self, name: str) -> DoubleArray:
        """The quantiles of a column of the manifest, from its pooled file."""
        values = self._table.columns.column(name).values
        table: DoubleArray = self._pooled.member(self._members[nfc(name)], "<f8", (len(values) + 1,))
        if not (np.abs(table) <= 1).all():
            raise CatalogueError(f"{self._pooled.path}: expected quantiles of {name} from -1 to 1, found others")
        return table

    def _local_of(self, rows: Collection[int]) -> Rows:
        """Local rows of those of some rows that are in this shard."""
        all_rows = np.fromiter(rows, np.int64, len(rows))
        return self._local(all_rows[all_rows % self._shards == self._number])

    def _local(self, rows: Rows) -> Rows:
        return np.searchsorted(self._ordinals, rows // self._shards).astype(np.int64)

    def _global(self, local: Rows) -> Rows:
        rows: Rows = self._ordinals[local] * self._shards + self._number
        return rows


def _sharded(selection: Selection) -> ShardedSelection:
    if not isinstance(selection, ShardedSelection):
        raise TypeError(f"selection: expected ShardedSelection, found {type(selection).__name__}")
    return selection
