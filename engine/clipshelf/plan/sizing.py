"""From a catalogue and its traffic to machines: the cheapest cluster whose simulated p99 is short enough."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from clipshelf.cached import cached_property
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.plan.queues import Cluster, simulate
from clipshelf.plan.rates import Rates
from clipshelf.types import DoubleArray

# Utilisation above which queues grow without end in practice; such clusters are not simulated.
_BUSY = 0.9
_FIRST_QUERIES, _QUERIES = 2_000, 10_000
_SMALLEST_SHARD = 100_000  # products; below, the fixed part of a search outweighs the rest
_MOST_MACHINES = 100_000
_MAY_BE_ZERO = ("network", "pictures", "texts", "record_bytes", "photos")
_DRAWN = 1_000  # durations of embedding, from which the simulation draws


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster, and what is assumed of it and its network.

    - `cpus`, `memory`: cores, and bytes.
    - `bandwidth`: bytes of memory that it reads in a second; a search is never faster than that.
    - `network`: seconds that a query spends on the network and in merging.
    """

    cpus: int
    memory: float
    bandwidth: float = 100e9
    network: float = 0.001


@dataclass(frozen=True)
class Demand:
    """A catalogue and its traffic.

    - `products`, `dim`: N and D.
    - `qps`: queries in a second.
    - `p99`: seconds within which 99 of 100 queries are to be answered.
    - `record_bytes`: bytes of a product's record and columns.
    - `pictures`, `texts`: pictures and texts of a product, on average.
    - `photos`: the share of queries, 0 to 1, that have a photo beside their sentence.
    """

    products: int
    dim: int
    qps: float
    p99: float
    record_bytes: float = 500.0
    pictures: float = 1.0
    texts: float = 1.0
    photos: float = 1.0

    @property
    def product_bytes(self) -> float:
        """Bytes of memory for a product: float32 rows, their int8 copy, keys, and the record."""
        return 2 * self.dim * (4 + 1) + 48 + self.record_bytes


@dataclass(frozen=True)
class Plan:
    """What a demand needs.

    - `shards`, `replicas`: parts of the catalogue, and machines for each of them.
    - `embedders`: machines that embed queries.
    - `shard_memory`: bytes of one shard.
    - `search`: seconds of one search of a shard.
    - `p50`, `p99`: seconds, simulated.
    - `busy`: share of the time, 0 to 1, that the shards' machines work.
    - `embedding_cpu_seconds`: to embed the catalogue.
    """

    demand: Demand
    machine: Machine
    rates: Rates
    shards: int
    replicas: int
    embedders: int
    shard_memory: float
    search: float
    p50: float
    p99: float
    busy: float
    embedding_cpu_seconds: float

    @property
    def machines(self) -> int:
        """Machines in all."""
        return self.shards * self.replicas + self.embedders

    @property
    def embedding_hours(self) -> float:
        """Hours to embed the catalogue on all machines of the cluster."""
        return self.embedding_cpu_seconds / 3600 / (self.machines * self.machine.cpus)

    def to_dict(self) -> dict[str, Any]:
        """The plan for JSON: seconds and bytes."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "rates"},
            "machines": self.machines,
            "embedding_hours": self.embedding_hours,
            "embedding_cpu_hours": self.embedding_cpu_seconds / 3600,
        }


def plan(demand: Demand, machine: Machine, rates: Rates) -> Plan:
    """Find the cluster with the fewest machines that answers in time.

    Raises InputError where no cluster can; it says what takes the time.
    """
    _check(demand, machine)
    best: Plan | None = None
    least = math.inf  # p99 of a cluster without queues
    for shards in _shard_counts(demand, machine):
        sizing = _Sizing(demand, machine, rates, shards)
        best = sizing.smallest(best.machines if best else _MOST_MACHINES + 1) or best
        if best is None:
            least = min(least, sizing.idle_p99)
        elif shards >= best.machines:
            break
    if best is None and demand.p99 < least < math.inf:
        raise InputError(_too_quick(demand, machine, rates, least))
    if best is None:
        raise InputError(
            f"plan: expected a cluster of at most {_MOST_MACHINES:,} machines, found that it needs more; all products "
            f"take {demand.products * demand.product_bytes / 1e9:,.0f} GB of memory"
        )
    return best


def _too_quick(demand: Demand, machine: Machine, rates: Rates, least: float) -> str:
    """Why no cluster answers in time; `least` is the p99 of the quickest, in seconds."""
    embedding, without_photo = (
        1000 * np.percentile(_embeddings(replace(demand, photos=photos), rates, machine), 99)
        for photos in (demand.photos, 0.0)
    )
    hint = f", and {without_photo:.1f} ms for one without a photo (--photos 0)" if demand.photos else ""
    return (
        f"p99: expected more than {1000 * least:.1f} ms, which a query takes that never waits, found "
        f"{1000 * demand.p99:g} ms; embedding a query takes {embedding:.1f} ms of it on "
        f"{_threads(rates, machine)} CPUs{hint}"
    )


def search_seconds(demand: Demand, machine: Machine, rates: Rates, shards: int) -> float:
    """Seconds of one search of a shard on all CPUs of a machine."""
    numbers = math.ceil(demand.products / shards) * 2 * demand.dim
    computed = rates.scan_number * numbers * rates.threads / machine.cpus
    return rates.scan + max(computed, numbers / machine.bandwidth)


def _check(demand: Demand, machine: Machine) -> None:
    for owner in (demand, machine):
        for name, value in asdict(owner).items():
            if not 0 <= value < math.inf or (value == 0 and name not in _MAY_BE_ZERO):
                raise InputError(f"{name}: expected a number above 0, found {describe(value)}")
    if demand.photos > 1:
        raise InputError(f"photos: expected a share from 0 to 1, found {describe(demand.photos)}")


def _threads(rates: Rates, machine: Machine) -> int:
    """CPUs that embed one query: as many as in the measurement, so that its time holds."""
    return min(rates.threads, machine.cpus)


def _embeddings(demand: Demand, rates: Rates, machine: Machine) -> DoubleArray:
    """Seconds of embedding single queries on such a machine, as many of them with a photo as the demand says."""
    with_photo = round(demand.photos * _DRAWN)
    seconds = np.append(np.resize(rates.queries, with_photo), np.resize(rates.text_queries, _DRAWN - with_photo))
    return seconds.astype(np.float64) * rates.threads / _threads(rates, machine)


def _shard_counts(demand: Demand, machine: Machine) -> Iterator[int]:
    """Numbers of shards to try, ascending, each about a quarter more than the one before."""
    fewest = max(1, math.ceil(demand.products * demand.product_bytes / machine.memory))
    most = max(fewest, demand.products // _SMALLEST_SHARD)
    shards = fewest
    while shards <= min(most, _MOST_MACHINES):
        yield shards
        shards = max(shards + 1, shards * 5 // 4)


class _Sizing:
    """Looks for the smallest cluster with a number of shards."""

    def __init__(self, demand: Demand, machine: Machine, rates: Rates, shards: int) -> None:
        self._demand, self._machine, self._rates, self._shards = demand, machine, rates, shards
        self._search = search_seconds(demand, machine, rates, shards)
        self._embeddings = _embeddings(demand, rates, machine).tolist()
        self._slots = machine.cpus // _threads(rates, machine)  # queries that a machine embeds at a time

    def smallest(self, below: int) -> Plan | None:
        """The plan of a cluster of fewer than `below` machines that answers in time, None where there is none.

        Embedders are few and replicas many: first the fewest replicas beside idle embedders, then the fewest embedders
        that leave the p99 in time, with one replica more where none do.
        """
        fewest = math.ceil(self._demand.qps * self._search * np.mean(self._rates.jitter) / _BUSY)
        embedders = math.ceil(self._demand.qps * np.mean(self._embeddings) / self._slots / _BUSY)
        if self._shards * fewest + embedders >= below or self.idle_p99 > self._demand.p99:
            return None
        many = 4 * embedders + 4
        most = min(4 * fewest + 8, (below - embedders) // self._shards)
        replicas = bisect_left(range(most + 1), True, lo=fewest, key=lambda count: self._in_time(count, many))
        while self._shards * replicas + embedders < below and replicas <= most:
            for count in range(embedders, min(many, below - self._shards * replicas)):
                if self._in_time(replicas, count):
                    p50, p99 = self._percentiles(replicas, count, _QUERIES)
                    if p99 <= self._demand.p99:
                        return self._plan(replicas, count, p50, p99)
            replicas += 1
        return None

    @cached_property
    def idle_p99(self) -> float:
        """p99 in seconds where no query waits for another."""
        cluster = Cluster(_FIRST_QUERIES, self._shards, 1, self._search, self._machine.network)
        waits = simulate(cluster, 0.01 / self._search, self._embeddings, self._rates.jitter, queries=_FIRST_QUERIES)
        return float(np.percentile(waits, 99))

    def _in_time(self, replicas: int, embedders: int) -> bool:
        return self._percentiles(replicas, embedders, _FIRST_QUERIES)[1] <= self._demand.p99

    def _percentiles(self, replicas: int, embedders: int, queries: int) -> tuple[float, float]:
        """p50 and p99, in seconds."""
        cluster = Cluster(embedders * self._slots, self._shards, replicas, self._search, self._machine.network)
        waits = simulate(cluster, self._demand.qps, self._embeddings, self._rates.jitter, queries=queries)
        return float(np.percentile(waits, 50)), float(np.percentile(waits, 99))

    def _plan(self, replicas: int, embedders: int, p50: float, p99: float) -> Plan:
        demand, rates = self._demand, self._rates
        return Plan(
            demand,
            self._machine,
            rates,
            self._shards,
            replicas,
            embedders,
            shard_memory=math.ceil(demand.products / self._shards) * demand.product_bytes,
            search=self._search,
            p50=p50,
            p99=p99,
            busy=demand.qps * self._search * float(np.mean(rates.jitter)) / replicas,
            embedding_cpu_seconds=demand.products * (demand.pictures * rates.picture + demand.texts * rates.text),
        )
