"""Shards as actors of Ray, with replicas. A call that an actor does not answer goes to another one, until time is up.

Ray places the actors, and starts one again that was lost. Meanwhile its shard is answered by a replica, or not at all:
`RayShards.call` leaves out shards that nobody answered for.
"""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Mapping, Sequence
from typing import Any

from clipshelf.errors import ClipshelfError, InputError
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.ray_runtime import load_ray
from clipshelf.scale.shards import Method

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
        self._turn = itertools.count()
        actor = self._ray.remote(_ShardActor).options(num_cpus=cpus, max_restarts=-1)
        arguments = (catalogue.folder, catalogue.manifest.generation, threads)
        self._actors = [
            [actor.remote(number, *arguments) for _ in range(replicas)] for number in range(catalogue.shards)
        ]
        try:
            self._ray.get(
                [each.ready.remote() for of_shard in self._actors for each in of_shard], timeout=start_timeout
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

    @property
    def actors(self) -> list[list[Any]]:
        """The handles of the actors, by shard."""
        return self._actors

    def call(self, method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, Any]:
        """Call a method on shards, on all of them at the same time."""
        deadline = time.monotonic() + self._patience
        results: dict[int, Any] = {}
        turn = next(self._turn)
        packed = _packed(arguments)
        waiting = {number: self._submit(number, turn, method, packed[number]) for number in arguments}
        while waiting:
            failed = self._gather(waiting, results, deadline)
            if time.monotonic() >= deadline:
                break
            turn += 1
            if failed:
                time.sleep(_BETWEEN_TRIES)
            waiting = {number: self._submit(number, turn, method, packed[number]) for number in failed}
        return {number: results[number] for number in arguments if number in results}

    def close(self) -> None:
        """End the actors."""
        for actor in itertools.chain.from_iterable(self._actors):
            self._ray.kill(actor)
        self._actors = []

    def _submit(self, number: int, turn: int, method: Method, arguments: bytes) -> Any:
        actors = self._actors[number]
        return actors[turn % len(actors)].call.remote(method, arguments)

    def _gather(self, waiting: Mapping[int, Any], results: dict[int, Any], deadline: float) -> list[int]:
        """Add the results of calls that were submitted; returns the shards whose actor did not answer.

        Where a shard has replicas, one that does not answer in its share of the time is given up for the next.
        """
        exceptions, failed = self._ray.exceptions, []
        left = max(0.0, deadline - time.monotonic())
        until = time.monotonic() + (left / 2 if len(self._actors[0]) > 1 else left)
        for number, reference in waiting.items():
            try:
                content = self._ray.get(reference, timeout=max(0.0, until - time.monotonic()))
                results[number] = pickle.loads(content)
            except exceptions.RayTaskError as error:
                raise _cause(error) from None
            except (exceptions.RayActorError, exceptions.GetTimeoutError, exceptions.RaySystemError):
                failed.append(number)
        return failed


class _ShardActor:
    """One shard in a process of its own."""

    def __init__(self, number: int, folder: Any, generation: int, threads: int) -> None:
        from clipshelf.scale.shard import Shard

        self._shard = Shard(folder, number, generation, threads)

    def ready(self) -> bool:
        """Whether the shard is open."""
        return True

    def call(self, method: str, arguments: bytes) -> bytes:
        """The result of a method of the shard, pickled as its arguments are."""
        return pickle.dumps(getattr(self._shard, method)(*pickle.loads(arguments)), _PROTOCOL)


def _packed(arguments: Mapping[int, Sequence[Any]]) -> dict[int, bytes]:
    """The arguments of each shard in one piece: Ray handles each array of a message apart, which takes longer.

    Where shards have the same arguments, these are pickled once.
    """
    by_identity: dict[int, bytes] = {}
    for of_shard in arguments.values():
        if id(of_shard) not in by_identity:
            by_identity[id(of_shard)] = pickle.dumps(tuple(of_shard), _PROTOCOL)
    return {number: by_identity[id(of_shard)] for number, of_shard in arguments.items()}


def _cause(error: Any) -> BaseException:
    """The error that a task raised, without the text that Ray puts before it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
