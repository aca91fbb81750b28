"""Connections to the replicas of shards that are open and wait for their next request."""

from __future__ import annotations

import threading
from typing import TypeAlias

from clipshelf.scale.direct_calls import Address, CallClient

# Number of the shard, and of its replica.
ReplicaId: TypeAlias = tuple[int, int]


class Connections:
    """Connections by replica; any number of threads may take and put them.

    - `token`: that the servers of the replicas expect.
    """

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._lock = threading.Lock()
        self._addresses: dict[ReplicaId, Address] = {}
        self._idle: dict[ReplicaId, list[CallClient]] = {}

    def learn(self, id_: ReplicaId, address: Address) -> None:
        """Set the address at which a replica takes connections."""
        with self._lock:
            self._addresses[id_] = address

    def take(self, id_: ReplicaId) -> CallClient | None:
        """A connection that nobody else uses, None for a replica that cannot be reached."""
        with self._lock:
            if idle := self._idle.get(id_):
                return idle.pop()
            address = self._addresses.get(id_)
        if address is None:
            return None
        try:
            return CallClient(address, self._token)
        except OSError:
            self._forget(id_)
            return None

    def put(self, id_: ReplicaId, client: CallClient) -> None:
        """Return a connection whose last request is answered."""
        with self._lock:
            if id_ in self._addresses:
                self._idle.setdefault(id_, []).append(client)
                return
        client.close()

    def drop(self, id_: ReplicaId, client: CallClient) -> None:
        """Close a connection whose request failed, and the others of the replica, until its address is learnt again."""
        client.close()
        self._forget(id_)

    def close(self) -> None:
        """Close all connections."""
        for id_ in list(self._addresses):
            self._forget(id_)

    def _forget(self, id_: ReplicaId) -> None:
        with self._lock:
            self._addresses.pop(id_, None)
            idle = self._idle.pop(id_, [])
        for client in idle:
            client.close()
