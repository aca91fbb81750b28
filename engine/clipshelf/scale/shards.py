"""How the shards of a catalogue are called: in this process, or elsewhere (`ray_shards`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from clipshelf.errors import ShardLost
from clipshelf.scale.generation_use import GenerationUse
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.shard import Shard
from clipshelf.workers import Workers

Method: TypeAlias = Literal[
    "find",
    "fetch",
    "parts",
    "records",
    "group_values",
    "value",
    "evidence",
    "count",
    "count_below",
    "count_passing",
    "count_field",
    "count_values",
    "rows_of",
    "picture_keys",
    "read_columns",
    "search",
]

# They read the values of a whole column, which may take longer than a query waits.
SLOW_METHODS: frozenset[Method] = frozenset({"evidence", "count_field", "count_values", "read_columns"})


class Shards(Protocol):
    """Calls methods of `clipshelf.scale.shard.Shard` on some of S shards."""

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on shards.

        - `arguments`: of each shard that is called, by its number.

        Returns the results by shard, without those of shards that did not answer. Raises what a method raises.

        A method other than `SLOW_METHODS` raises ColumnsUnread instead of reading a column from all records.
        """

    def close(self) -> None:
        """Let the shards go."""


class LocalShards:
    """All shards in this process.

    - `folder`, `manifest`: of the sharded catalogue. Its generation stays until `close`.
    - `threads`: of one search in one shard.
    """

    def __init__(self, folder: Path, manifest: ShardedManifest, threads: int | None = 1) -> None:
        self._use = GenerationUse(folder, manifest)
        self._workers = Workers()
        numbers = range(len(manifest.shards))
        self._shards = self._workers.map(lambda number: Shard(folder, number, manifest, threads), numbers)

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on shards, one after the other."""
        return {number: getattr(self._shards[number], method)(*of_shard) for number, of_shard in arguments.items()}

    def close(self) -> None:
        """Let the shards go."""
        self._shards = []
        self._use.end()


def require_all(results: Mapping[int, Any], called: Mapping[int, Any]) -> Mapping[int, Any]:
    """The results of all shards that were called; raises ShardLost where one did not answer."""
    if missing := sorted(called.keys() - results.keys()):
        numbers = ", ".join(map(str, missing))
        raise ShardLost(f"shards: expected an answer of each, found none of {numbers}; ask again when it is back")
    return results
