"""Fields of records, such as `size.eu`, as the shards of a catalogue have them together.

What is pooled of columns is in files. Which fields are used only queries tell, so what is pooled of a field is fetched
when one first names it, and kept. All shards must answer then: a kind or a quantile without the values of one of them
would be another. It does not change as long as the generation is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

from clipshelf.catalogue.typed_columns.inference import infer
from clipshelf.catalogue.typed_columns.kinds import kind_of
from clipshelf.last_used import LastUsed
from clipshelf.recommend.boosts import BOOST_KINDS, Addition
from clipshelf.recommend.store import Search
from clipshelf.scale.columns import ShardedColumns
from clipshelf.scale.distinct_values import pooled_quantiles
from clipshelf.scale.selections import AddedFields
from clipshelf.types import DoubleArray

_MOST_BYTES = 1 << 26  # of quantiles that stay here; each shard keeps its own
_MOST_SENDINGS = 1024  # fields of which it is known that shards lacked them
_MOST_AHEAD = 16  # searches in a row that carry quantiles unasked, more than shards have replicas


@dataclass
class _Sending:
    """How often a shard lacked the quantiles of a field, and with how many of the next searches they are sent."""

    lacked: int = 0
    ahead: int = 0


class PooledFields:
    """Pools fields over shards.

    - `kinds`: of the columns of all shards.
    - `call_all`: calls a method on all of them with further arguments; raises ShardLost where one does not answer.
    """

    def __init__(self, kinds: Mapping[str, Any], call_all: Callable[..., Mapping[int, Any]]) -> None:
        self.columns = ShardedColumns(kinds, self._declare)
        self._call_all = call_all
        self._quantiles: LastUsed[str, Mapping[int, DoubleArray]] = LastUsed(_MOST_BYTES, _bytes_of)
        self._sendings: LastUsed[str, _Sending] = LastUsed(_MOST_SENDINGS)

    def added(self, searches: Sequence[Search]) -> AddedFields:
        """The fields by which searches add to scores, without quantiles."""
        additions = {each for search in searches for each in search.additions if isinstance(each, Addition)}
        return AddedFields(self.columns.of_records(addition.column for addition in additions))

    def send_ahead(self, names: Iterable[str]) -> None:
        """Send the quantiles of some fields, which a shard lacked, along with some of the next searches.

        Replicas take turns, so the search that is repeated with them may reach another replica than the one that lacks
        them, each time again. The oftener they are lacked, the more searches in a row carry them: so all get them.
        """
        for name in names:
            sending = self._sendings.get(name, _Sending)
            sending.lacked += 1
            sending.ahead = min(sending.lacked, _MOST_AHEAD)

    def is_sent_ahead(self, fields: AddedFields) -> bool:
        """Whether the next search gets quantiles unasked; it counts as sent."""
        sendings = [self._sendings.find(name) for name in fields.declarations]
        due = [sending for sending in sendings if sending is not None and sending.ahead > 0]
        for sending in due:
            sending.ahead -= 1
        return bool(due)

    def with_quantiles(self, fields: AddedFields, shards: Iterable[int]) -> dict[int, AddedFields]:
        """For each of some shards the fields with its quantiles of those that boost; raises ShardLost."""
        tables = {
            name: self._quantiles.get(name, partial(self._pool, name, declaration))
            for name, declaration in fields.declarations.items()
            if kind_of(declaration) in BOOST_KINDS
        }
        return {
            shard: AddedFields(fields.declarations, {name: of_shards[shard] for name, of_shards in tables.items()})
            for shard in shards
        }

    def _pool(self, name: str, declaration: str) -> dict[int, DoubleArray]:
        """The quantiles of a field by shard."""
        counts = self._call_all("count_field", name, declaration)
        return dict(zip(counts, pooled_quantiles(list(counts.values())), strict=True))

    def _declare(self, name: str) -> str:
        """The declaration of a field by the values of all shards, "" where none has it."""
        evidence = reduce(add, self._call_all("evidence", name).values())
        if not evidence:
            return ""
        inferred = infer(name, evidence)
        return inferred.declaration or inferred.kind


def _bytes_of(quantiles: Mapping[int, DoubleArray]) -> int:
    return sum(table.nbytes for table in quantiles.values())
