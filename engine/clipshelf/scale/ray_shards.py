"""Shards as actors of Ray, with replicas. A call that an actor does not answer goes to another one, until time is up.

Ray places the actors, and starts one again that was lost. Meanwhile its shard is answered by a replica, or not at all:
`RayShards.call` leaves out shards that nobody answered for.

A request goes over a connection to the process of the actor (`direct_calls`), since a call of Ray takes longer
than many a search (docs/scale.md). Where there is no connection, because an actor is new or a firewall is between, Ray
calls it.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clipshelf.errors import ClipshelfError, InputError, ShardLost
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.connections import CONNECT_WITHIN, Connections, ReplicaId
from clipshelf.scale.direct_calls import TOKEN_SIZE, Address, CallClient
from clipshelf.scale.generation_use import GenerationUse
from clipshelf.scale.ray_runtime import cause_of, load_ray
from clipshelf.scale.shard_actor import SLOW_GROUP, ShardActor, requests_of, result_of
from clipshelf.scale.shards import SLOW_METHODS, Method
from clipshelf.scale.turns import Turns

_log = logging.getLogger(__name__)
_BETWEEN_TRIES = 0.05  # seconds between two calls of an actor that is starting again


class RayShards:
    """Calls the shards of a catalogue, each an actor of Ray with its own ranker.

    - `catalogue`: the sharded catalogue, whose folder every node can read. Its generation stays until `close`.
    - `replicas`: actors of each shard, from 1.
    - `threads`: of one search.
    - `cpus`: that an actor reserves; Ray places it where so many are free.
    - `patience`: seconds after which a shard that nobody answered for is left out, above 0.
    - `start_timeout`: seconds in which all actors must have opened their shards.

    Ray must be connected, as by `clipshelf.scale.ray_runtime.connected`. Raises ClipshelfError where it is not, and
    where the shards cannot be opened.
    """

    def __init__(
        self,
        catalogue: ShardedCatalogue,
        *,
        replicas: int = 1,
        threads: int = 1,
        cpus: float = 1.0,
        patience: float = 10.0,
        start_timeout: float = 120.0,
    ) -> None:
        if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
            raise InputError(f"replicas: expected a number from 1 on, found {replicas!r}")
        if isinstance(patience, bool) or not isinstance(patience, (int, float)) or not patience > 0:
            raise InputError(f"patience: expected seconds above 0, found {patience!r}")
        self._ray = load_ray()
        if not self._ray.is_initialized():  # else it would start by itself, with all CPUs of this machine
            raise ClipshelfError("expected a connection to Ray, as ray_runtime.connected makes one, found none")
        self._folder = catalogue.folder
        self._replicas = replicas
        self._patience = patience
        self._numbers = itertools.count()
        self._turns = Turns(replicas)
        token = secrets.token_bytes(TOKEN_SIZE)
        self._connections = Connections(token)
        self._actors: list[list[Any]] = []
        self._is_closed = False
        self._use = GenerationUse(catalogue.folder, catalogue.manifest)
        try:
            addresses = self._start_actors(catalogue, threads, cpus, token, start_timeout)
        except BaseException:
            self.close()
            raise
        for id_, address in zip(itertools.product(range(catalogue.shards), range(replicas)), addresses, strict=True):
            self._connections.learn(id_, address)

    @property
    def actors(self) -> list[list[Any]]:
        """The handles of the actors, by shard."""
        return self._actors

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on shards, on all of them at the same time; raises ShardLost after `close`."""
        deadline = time.monotonic() + self._patience
        requests = requests_of(method, arguments)
        answers: dict[int, bytes] = {}
        turn = next(self._numbers)
        while True:
            unanswered = {number: request for number, request in requests.items() if number not in answers}
            answers |= self._answers(method, unanswered, turn, deadline)
            if len(answers) == len(requests) or time.monotonic() >= deadline:
                return {number: result_of(answers[number]) for number in arguments if number in answers}
            turn += 1
            time.sleep(_BETWEEN_TRIES)

    def close(self) -> None:
        """End the actors."""
        self._is_closed = True
        self._connections.close()
        actors, self._actors = self._actors, []
        if self._ray.is_initialized():  # else Ray would start again to end actors that have ended with it
            for actor in itertools.chain.from_iterable(actors):
                with suppress(self._ray.exceptions.RayError):
                    self._ray.kill(actor)
        self._use.end()

    def _start_actors(
        self, catalogue: ShardedCatalogue, threads: int, cpus: float, token: bytes, timeout: float
    ) -> list[Address]:
        """Start the actors; returns the addresses of all replicas of each shard."""
        errors = self._ray.exceptions
        options = {"num_cpus": cpus, "max_restarts": -1, "concurrency_groups": {SLOW_GROUP: 1}}
        actor = self._ray.remote(**options)(ShardActor)
        arguments = (catalogue.folder, catalogue.manifest, threads, token)
        try:
            for number in range(catalogue.shards):
                self._actors.append([actor.remote(number, *arguments) for _ in range(self._replicas)])
            references = [each.address.remote() for of_shard in self._actors for each in of_shard]
            try:
                addresses: list[Address] = self._ray.get(references, timeout=timeout)
            except errors.GetTimeoutError:
                total = self._ray.cluster_resources().get("CPU", 0)
                raise ClipshelfError(
                    f"{self._folder}: expected {len(references)} actors within {timeout:g} seconds, "
                    f"each with {cpus:g} CPUs, found fewer on a cluster of {total:g} CPUs"
                ) from None
        except errors.RayError as error:
            raise ClipshelfError(f"{self._folder}: expected shards that open, found: {cause_of(error)}") from error
        return addresses

    def _answers(self, method: Method, requests: Mapping[int, bytes], turn: int, deadline: float) -> dict[int, bytes]:
        """Send each shard its request to the replica whose turn it is; returns the answers that come.

        Where a shard has replicas, one that does not answer in its share of the time is given up for the next.
        """
        actors, now = self._actors, time.monotonic()
        if self._is_closed:
            raise ShardLost(f"{self._folder}: expected open shards, found that they are closed")
        until = now + max(0.0, deadline - now) / (2 if self._replicas > 1 else 1)
        ids = [self._turns.replica(number, turn) for number in requests]
        # To connect may take time. Shards with an open connection have got their requests by then.
        ids.sort(key=self._connections.is_idle, reverse=True)
        connect_until = min(until, now + CONNECT_WITHIN)
        calls: list[tuple[ReplicaId, _DirectCall | _ActorCall | None]] = []
        for number, replica in ids:
            id_, request = (number, replica), requests[number]
            direct = self._direct_call(id_, request, connect_until, until)
            calls.append((id_, direct or self._actor_call(id_, actors[number][replica], method, request)))
        answers = {}
        for id_, call in calls:
            try:
                if call is not None:
                    answers[id_[0]] = call.answer(until)
                    continue
            except (OSError, self._ray.exceptions.RayError):
                pass
            if method not in SLOW_METHODS:
                self._turns.pass_over(id_)
                self._connections.forget(id_)
        return answers

    def _direct_call(self, id_: ReplicaId, request: bytes, connect_until: float, until: float) -> _DirectCall | None:
        """The request over a connection, None where there is none."""
        client = self._connections.take(id_, connect_until)
        if client is None:
            return None
        try:
            client.send(request, until)
        except OSError:
            client.close()
            self._connections.forget(id_)
            return None
        return _DirectCall(self._connections, id_, client)

    def _actor_call(self, id_: ReplicaId, actor: Any, method: Method, request: bytes) -> _ActorCall | None:
        """The request through Ray, None where Ray does not take it."""
        remote = actor.call.options(concurrency_group=SLOW_GROUP) if method in SLOW_METHODS else actor.call
        try:
            return _ActorCall(self._ray, self._connections, id_, remote.remote(request))
        except Exception as error:  # Ray has no class for it: an actor of a cluster that has ended, for instance
            _log.warning("shards: %d cannot be called: %s", id_[0], error)
            return None


@dataclass(frozen=True)
class _DirectCall:
    """A request that was sent over a connection."""

    connections: Connections
    id_: ReplicaId
    client: CallClient

    def answer(self, until: float) -> bytes:
        """The answer; raises OSError where there is none in time."""
        try:
            answer = self.client.receive(until)
        except OSError:
            self.client.close()
            raise
        self.connections.put(self.id_, self.client)
        return answer


@dataclass(frozen=True)
class _ActorCall:
    """A request that Ray carries. With the answer comes the address for the next one."""

    ray: Any
    connections: Connections
    id_: ReplicaId
    reference: Any

    def answer(self, until: float) -> bytes:
        """The answer; raises an error of Ray where there is none in time."""
        address, answer = self.ray.get(self.reference, timeout=max(0.0, until - time.monotonic()))
        self.connections.learn(self.id_, address)
        return bytes(answer)
