"""One shard in a process of its own, which Ray starts, and the bytes in which requests and answers go to it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from clipshelf.scale.direct_calls import Address, CallServer
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.ray_runtime import load_ray
from clipshelf.scale.shard import Shard
from clipshelf.scale.shards import SLOW_METHODS, Method

_PROTOCOL = pickle.HIGHEST_PROTOCOL
SLOW_GROUP = "slow"  # of Ray's threads, for methods that would make others wait


class ShardActor:
    """Opens a shard, and answers requests that come over sockets or through Ray.

    - `number`: of the shard; `folder`, `manifest`, `threads` are those of `Shard`.
    - `token`: of those who may connect.
    """

    def __init__(self, number: int, folder: Any, manifest: ShardedManifest, threads: int, token: bytes) -> None:
        self._shard = Shard(folder, number, manifest, threads)
        self._shard.warm()
        # A shard answers one request at a time, whichever way it comes, and a slow one beside it.
        self._lock, self._slow_lock = threading.Lock(), threading.Lock()
        self._server = CallServer(self._answer, load_ray().util.get_node_ip_address(), token)

    def address(self) -> Address:
        """Where the actor takes connections, from when its shard is open and has searched once."""
        return self._server.address

    def call(self, request: bytes) -> tuple[Address, bytes]:
        """The actor's address, and the answer to a request that comes through Ray."""
        return self._server.address, self._answer(request)

    def _answer(self, request: bytes) -> bytes:
        """The result of a method, or the error that it raised, as bytes."""
        try:
            method, arguments = pickle.loads(request)
            with self._slow_lock if method in SLOW_METHODS else self._lock:
                result = getattr(self._shard, method)(*arguments)
            return pickle.dumps((result, None), _PROTOCOL)
        except Exception as error:
            return pickle.dumps((None, error), _PROTOCOL)


def requests_of(method: Method, arguments: Mapping[int, Sequence[Any]]) -> dict[int, bytes]:
    """The request to each shard; one that several shards get is pickled once."""
    by_identity: dict[int, bytes] = {}
    for of_shard in arguments.values():
        if id(of_shard) not in by_identity:
            by_identity[id(of_shard)] = pickle.dumps((method, tuple(of_shard)), _PROTOCOL)
    return {number: by_identity[id(of_shard)] for number, of_shard in arguments.items()}


def result_of(answer: bytes) -> Any:
    """The result in an answer; raises the error in it."""
    result, error = pickle.loads(answer)
    if error is not None:
        raise error
    return result
