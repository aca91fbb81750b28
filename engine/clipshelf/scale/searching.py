"""Searches in all shards, which get the quantiles of fields of records with a search when they lack them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clipshelf.recommend.store import Search
from clipshelf.scale.pooled_fields import PooledFields
from clipshelf.scale.selections import AddedFields, LackedQuantiles, ShardCandidates
from clipshelf.scale.shard_calls import ShardCalls


def search_shards(
    calls: ShardCalls, fields: PooledFields, searches: Sequence[Search]
) -> dict[int, list[ShardCandidates]]:
    """The candidates of each search by shard, of those that answer.

    Tables of quantiles may be large, so a search carries none at first. A shard that lacks some, since it is new or
    was started again, says so, and is searched again with them. Raises ShardLost where they cannot be pooled.
    """
    searches = list(searches)
    added = fields.added(searches)
    if fields.is_sent_ahead(added):
        return _with_quantiles(calls, fields, searches, added, range(calls.count))
    answers: dict[int, list[ShardCandidates] | LackedQuantiles] = calls.all("search", searches, added)
    candidates, lacked = dict[int, list[ShardCandidates]](), dict[int, LackedQuantiles]()
    for shard, answer in answers.items():
        if isinstance(answer, LackedQuantiles):
            lacked[shard] = answer
        else:
            candidates[shard] = answer
    if not lacked:
        return candidates
    fields.send_ahead({name for each in lacked.values() for name in each.columns})
    return candidates | _with_quantiles(calls, fields, searches, added, lacked)


def _with_quantiles(
    calls: ShardCalls, fields: PooledFields, searches: Sequence[Search], added: AddedFields, shards: Iterable[int]
) -> dict[int, list[ShardCandidates]]:
    """The candidates of some shards, which get their quantiles."""
    of_shards = fields.with_quantiles(added, shards)
    return calls.some("search", {shard: (searches, of_shard) for shard, of_shard in of_shards.items()})
