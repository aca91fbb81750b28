"""Calls of all shards of a catalogue, and of those that have some products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipshelf.display import describe
from clipshelf.errors import ShardLost
from clipshelf.scale.selections import ColumnsUnread
from clipshelf.scale.shards import Method, Shards, require_all
from clipshelf.types import FloatArray, Rows

_MOST_READS = 16  # more than a shard has replicas


class ShardCalls:
    """Calls `count` shards through `shards`."""

    def __init__(self, shards: Shards, count: int) -> None:
        self._shards = shards
        self.count = count

    def some(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """The results of those of some shards that answer, by shard.

        Where a column must be read from all records, which takes long, the shards are called for that first. Replicas
        take turns, so that this may reach another one than the method did, each time again; so it is called once more
        each time. A shard that does not end with it in time is as one that does not answer.
        """
        for times in range(1, _MOST_READS):
            try:
                return self._shards.call(method, arguments)
            except ColumnsUnread as unread:
                columns = unread.declarations
            for _ in range(times):
                read = self._shards.call("read_columns", dict.fromkeys(arguments, (columns,)))
                arguments = {shard: arguments[shard] for shard in read}
        names = ", ".join(map(describe, columns))
        raise ShardLost(f"shards: expected {names} in memory, found that other columns took their place; ask again")

    def all(self, method: Method, *arguments: Any) -> dict[int, Any]:
        """The results of those of all shards that answer, by shard."""
        return self.some(method, dict.fromkeys(range(self.count), arguments))

    def require_some(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> Mapping[int, Any]:
        """The results of some shards; raises ShardLost where one does not answer."""
        return require_all(self.some(method, arguments), arguments)

    def require_all(self, method: Method, *arguments: Any) -> Mapping[int, Any]:
        """The results of all shards; raises ShardLost where one does not answer."""
        return require_all(self.all(method, *arguments), dict.fromkeys(range(self.count)))

    def missing(self, results: Mapping[int, Any]) -> frozenset[int]:
        """The shards that have no result."""
        return frozenset(range(self.count)) - results.keys()

    def of_items(self, method: Method, owners: Rows, items: Any, *first: Any) -> list[Any]:
        """The results of a method for n items, each asked of its shard; raises ShardLost.

        - `owners`: (n,) the shard of each item.
        - `items`: an array (n,), the last argument of the method; `first` are the others.
        """
        results: list[Any] = [None] * len(items)
        for positions, of_shard in self._by_owner(method, owners, items, first):
            for position, result in zip(positions.tolist(), of_shard, strict=True):
                results[position] = result
        return results

    def rows_of_items(self, method: Method, owners: Rows, items: Any, width: int) -> FloatArray:
        """The rows (n, width) that a method gives for n items, as `of_items`."""
        rows = np.empty((len(items), width), np.float32)
        for positions, of_shard in self._by_owner(method, owners, items, ()):
            rows[positions] = of_shard
        return rows

    def _by_owner(self, method: Method, owners: Rows, items: Any, first: Sequence[Any]) -> list[tuple[Rows, Any]]:
        """For each shard that owns items their positions, and the results for them."""
        positions = {shard: np.flatnonzero(owners == shard) for shard in np.unique(owners).tolist()}
        arguments = {shard: (*first, items[of_shard]) for shard, of_shard in positions.items()}
        results = self.require_some(method, arguments)
        return [(of_shard, results[shard]) for shard, of_shard in positions.items()]
