"""A simulation of the queues that queries wait in: embedding machines, then every shard at once.

Queries arrive by a Poisson process. Each is embedded by the first embedder that is free, then searched for by one
replica of every shard, the first that is free; the slowest shard decides when it is answered. Queues are first come,
first served.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipshelf.types import DoubleArray


@dataclass(frozen=True)
class Cluster:
    """What serves queries.

    - `embedders`: queries that are embedded at a time.
    - `shards`, `replicas`: parts of the catalogue, and searches of each at a time.
    - `search`: seconds of one search of a shard.
    - `overhead`: seconds that each query spends on the network and in merging.
    """

    embedders: int
    shards: int
    replicas: int
    search: float
    overhead: float


def simulate(
    cluster: Cluster,
    rate: float,
    embeddings: Sequence[float],
    jitter: Sequence[float],
    *,
    queries: int = 20_000,
    seed: int = 0,
) -> DoubleArray:
    """Simulate queries from empty queues on.

    - `rate`: queries in a second.
    - `embeddings`: seconds of embedding a query, of which one is drawn for each.
    - `jitter`: factors of the duration of a search, of which one is drawn for each search.

    Returns the seconds from arrival to answer of each query in order, without the first tenth, in which queues fill.
    """
    rng = np.random.default_rng(seed)
    arrivals = rng.exponential(1 / rate, queries).cumsum()
    embedded = _served(arrivals, rng.choice(np.asarray(embeddings), queries), cluster.embedders)
    order = np.argsort(embedded, kind="stable")
    answered = np.empty(queries)
    answered[order] = _searched(embedded[order], cluster, np.asarray(jitter), rng)
    waits: DoubleArray = answered + cluster.overhead - arrivals
    return waits[queries // 10 :]


def _served(arrivals: DoubleArray, durations: DoubleArray, servers: int) -> DoubleArray:
    """When each of n ascending arrivals has been served by the first of equal servers that was free."""
    free = [0.0] * min(servers, len(arrivals))
    done = np.empty(len(arrivals))
    for i, (arrival, duration) in enumerate(zip(arrivals.tolist(), durations.tolist(), strict=True)):
        done[i] = max(arrival, free[0]) + duration
        heapq.heapreplace(free, done[i])
    return done


def _searched(arrivals: DoubleArray, cluster: Cluster, jitter: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    """When the last shard has answered each of n ascending arrivals."""
    free, shards = np.zeros((cluster.shards, cluster.replicas)), np.arange(cluster.shards)
    done = np.empty(len(arrivals))
    for i, arrival in enumerate(arrivals.tolist()):
        first = free.argmin(axis=1)
        ends = np.maximum(free[shards, first], arrival) + cluster.search * rng.choice(jitter, cluster.shards)
        free[shards, first] = ends
        done[i] = ends.max()
    return done
