"""Shards as actors of Ray, with replicas. A call that an actor does not answer goes to another one, until time is up.

Ray places the actors, and starts one again that was lost. Meanwhile its shard is answered by a replica, or not at all:
`RayShards.call` leaves out shards that nobody answered for.

A request goes over a connection to the process of the actor (`direct_calls`), since a call of Ray takes longer
than many a search (docs/scale.md). Where there is no connection, because an actor is new or a firewall is between, Ray
calls it.
"""

from __future__ import annotations

import itertools
import pickle
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipshelf.errors import ClipshelfError, InputError
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.connections import Connections, ReplicaId
from clipshelf.scale.direct_calls import TOKEN_SIZE, Address, CallClient, CallServer
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.ray_runtime import load_ray
from clipshelf.scale.shards import Method
from clipshelf.scale.turns import Turns

_PROTOCOL = pickle.HIGHEST_PROTOCOL
_BETWEEN_TRIES = 0.05  # seconds between two calls of an actor that is starting again


class RayShards:
    """Calls the shards of a catalogue, each an actor of Ray with its own ranker.

    - `catalogue`: the sharded catalogue, whose folder every node can read.
    - `replicas`: actors of each shard, from 1.
    - `threads`: of one search.
    - `cpus`: that an actor reserves; Ray places it where so many are free.
    - `patience`: seconds after which a shard that nobody answered for is left out.
    - `start_timeout`: seconds in which all actors must have opened their shards.

    Raises ClipshelfError where the shards cannot be opened.
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
        self._ray = load_ray()
        self._patience = patience
        self._numbers = itertools.count()
        self._turns = Turns(replicas)
        token = secrets.token_bytes(TOKEN_SIZE)
        self._connections = Connections(token)
        actor = self._ray.remote(_ShardActor).options(num_cpus=cpus, max_restarts=-1)
        arguments = (catalogue.folder, catalogue.manifest, threads, token)
        self._actors = [
            [actor.remote(number, *arguments) for _ in range(replicas)] for number in range(catalogue.shards)
        ]
        try:
            addresses = self._ray.get(
                [each.address.remote() for of_shard in self._actors for each in of_shard], timeout=start_timeout
            )
        except self._ray.exceptions.GetTimeoutError:
            self.close()
            found = self._ray.cluster_resources().get("CPU", 0)
            raise ClipshelfError(
                f"{catalogue.folder}: expected {catalogue.shards * replicas} actors within {start_timeout:g} seconds, "
                f"each with {cpus:g} CPUs, found fewer on a cluster of {found:g} CPUs"
            ) from None
        except self._ray.exceptions.RayError as error:
            self.close()
            raise ClipshelfError(f"{catalogue.folder}: expected shards that open, found: {_cause(error)}") from error
        for id_, address in zip(itertools.product(range(catalogue.shards), range(replicas)), addresses, strict=True):
            self._connections.learn(id_, address)

    @property
    def actors(self) -> list[list[Any]]:
        """The handles of the actors, by shard."""
        return self._actors

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on shards, on all of them at the same time."""
        deadline = time.monotonic() + self._patience
        answers: dict[int, bytes] = {}
        turn = next(self._numbers)
        requests = _requests(method, arguments)
        waiting = list(arguments)
        while waiting:
            waiting = self._ask(waiting, turn, requests, answers, deadline)
            if time.monotonic() >= deadline:
                break
            turn += 1
            if waiting:
                time.sleep(_BETWEEN_TRIES)
        return {number: _result(answers[number]) for number in arguments if number in answers}

    def close(self) -> None:
        """End the actors."""
        self._connections.close()
        for actor in itertools.chain.from_iterable(self._actors):
            self._ray.kill(actor)
        self._actors = []

    def _ask(
        self,
        numbers: Sequence[int],
        turn: int,
        requests: Mapping[int, bytes],
        answers: dict[int, bytes],
        deadline: float,
    ) -> list[int]:
        """Send each shard its request, and add what is answered; returns the shards whose actor did not answer.

        Where a shard has replicas, one that does not answer in its share of the time is given up for the next.
        """
        left = max(0.0, deadline - time.monotonic())
        until = time.monotonic() + (left / 2 if len(self._actors[0]) > 1 else left)
        asked = [self._turns.replica(number, turn) for number in numbers]
        calls = [(id_, self._start(id_, requests[id_[0]], until)) for id_ in asked]
        failed = []
        for id_, call in calls:
            try:
                answers[id_[0]] = call.answer(until)
            except (OSError, self._ray.exceptions.RayError):
                self._turns.rest(id_)
                failed.append(id_[0])
        return failed

    def _start(self, id_: ReplicaId, request: bytes, until: float) -> _DirectCall | _ActorCall:
        client = self._connections.take(id_)
        if client is not None:
            try:
                client.send(request, until)
            except OSError:
                self._connections.drop(id_, client)
            else:
                return _DirectCall(self._connections, id_, client)
        number, replica = id_
        return _ActorCall(self._ray, self._connections, id_, self._actors[number][replica].call.remote(request))


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
            self.connections.drop(self.id_, self.client)
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


class _ShardActor:
    """One shard in a process of its own."""

    def __init__(self, number: int, folder: Any, manifest: ShardedManifest, threads: int, token: bytes) -> None:
        from clipshelf.scale.shard import Shard

        self._shard = Shard(folder, number, manifest, threads)
        self._shard.warm()
        self._lock = threading.Lock()  # a shard answers one request at a time, whichever way it comes
        self._server = CallServer(self._answer, load_ray().util.get_node_ip_address(), token)

    def address(self) -> Address:
        """Where the actor takes requests, from when its shard is open and has searched once."""
        return self._server.address

    def call(self, request: bytes) -> tuple[Address, bytes]:
        """The actor's address, and the answer to a request that comes through Ray."""
        return self._server.address, self._answer(request)

    def _answer(self, request: bytes) -> bytes:
        """The result of a method, or the error that it raised, as bytes."""
        try:
            method, arguments = pickle.loads(request)
            with self._lock:
                result = getattr(self._shard, method)(*arguments)
            return pickle.dumps((result, None), _PROTOCOL)
        except Exception as error:
            return pickle.dumps((None, error), _PROTOCOL)


def _requests(method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, bytes]:
    """The request to each shard; one that several shards get is pickled once."""
    by_identity: dict[int, bytes] = {}
    for of_shard in arguments.values():
        if id(of_shard) not in by_identity:
            by_identity[id(of_shard)] = pickle.dumps((method, tuple(of_shard)), _PROTOCOL)
    return {number: by_identity[id(of_shard)] for number, of_shard in arguments.items()}


def _result(answer: bytes) -> Any:
    """The result in an answer; raises the error in it."""
    result, error = pickle.loads(answer)
    if error is not None:
        raise error
    return result


def _cause(error: Any) -> BaseException:
    """The error that a task raised, without the text that Ray puts before it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
