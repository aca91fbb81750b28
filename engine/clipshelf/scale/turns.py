"""Which replica of a shard takes the next request, so that one that hangs does not delay many."""

from __future__ import annotations

import time
from collections.abc import Callable

from clipshelf.scale.connections import ReplicaId

# Seconds in which a replica that did not answer is passed over. After that a request tries it again.
PASSED_OVER_FOR = 30.0


class Turns:
    """Replicas in turn, without those that lately did not answer; any number of threads may use it.

    - `replicas`: of each shard.
    - `clock`: seconds that never go back.
    """

    def __init__(self, replicas: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._clock = clock
        self._passed_over: dict[ReplicaId, float] = {}

    def replica(self, shard: int, turn: int) -> ReplicaId:
        """The replica of a shard that takes request number `turn`.

        Where all are passed over, it is the one whose turn it is.
        """
        in_order = [(shard, (turn + step) % self._replicas) for step in range(self._replicas)]
        now = self._clock()
        return next((id_ for id_ in in_order if self._passed_over.get(id_, now) <= now), in_order[0])

    def pass_over(self, id_: ReplicaId) -> None:
        """Let no request go to a replica for a while, since it did not answer."""
        self._passed_over[id_] = self._clock() + PASSED_OVER_FOR
