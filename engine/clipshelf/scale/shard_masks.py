"""Which products of one shard a selection has."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

import numpy as np

from clipshelf.last_used import LastUsed
from clipshelf.recommend.catalogue_store import MaskedRows
from clipshelf.recommend.groups import Grouping
from clipshelf.scale.pooled_table import PooledTable
from clipshelf.scale.selections import ShardedSelection
from clipshelf.types import Mask, Rows

_MOST_MASKS = 16  # of the filters that were used last


class ShardMasks:
    """Works out masks of selections.

    - `table`: N products of the shard.
    - `grouping`: gives their groups by the name of a column.
    - `local_of`: gives the places in the shard of those of some rows of the whole that it has.
    """

    def __init__(
        self, table: PooledTable, grouping: Callable[[str], Grouping], local_of: Callable[[Collection[int]], Rows]
    ) -> None:
        self._table = table
        self._grouping = grouping
        self._local_of = local_of
        self._filtered: LastUsed[str, MaskedRows] = LastUsed(_MOST_MASKS)

    def masked(self, selection: ShardedSelection) -> MaskedRows:
        """The products of a selection, whose columns are required before."""
        masked = self._of_filter(selection)
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

    def _of_filter(self, selection: ShardedSelection) -> MaskedRows:
        """What the filter of a selection lets through."""
        where = selection.where
        if where is None:
            return MaskedRows(None, len(self._table))

        def make() -> MaskedRows:
            mask = self._table.mask(where)
            return MaskedRows(mask, int(np.count_nonzero(mask)))

        return self._filtered.get(json.dumps(where, default=str), make)
