"""Connections to the replicas of shards that are open and wait for their next request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from clipshelf.scale.direct_calls import Address, CallClient

# Number of the shard, and of its replica.
ReplicaId: TypeAlias = tuple[int, int]

CONNECT_WITHIN = 1.0  # seconds
# Seconds in which no connection is tried to an address that did not answer, such as one behind a firewall.
UNREACHABLE_FOR = 30.0


class Connections:
    """Connections by replica; any number of threads may take and put them.

    - `token`: that the servers of the replicas have.
    - `clock`: seconds that never go back.

    An address that cannot be reached is tried again in the background, so that it makes one request wait, and no other.
    """

    def __init__(self, token: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._addresses: dict[ReplicaId, Address] = {}
        self._idle: dict[ReplicaId, list[CallClient]] = {}
        self._retry_at: dict[Address, float] = {}  # of addresses that could not be reached
        self._is_closed = False

    def learn(self, id_: ReplicaId, address: Address) -> None:
        """Set the address at which a replica takes connections."""
        with self._lock:
            if self._is_closed:
                return
            previous = self._addresses.get(id_)
            if previous is not None and previous != address:
                self._retry_at.pop(previous, None)
            self._addresses[id_] = address

    def is_idle(self, id_: ReplicaId) -> bool:
        """Whether there is a connection that `take` would return without waiting."""
        return bool(self._idle.get(id_))

    def take(self, id_: ReplicaId, deadline: float) -> CallClient | None:
        """A connection that nobody else uses.

        - `deadline`: of `time.monotonic`, until which a new one may be made.

        None for a replica that cannot be reached.
        """
        with self._lock:
            if idle := self._idle.get(id_):
                return idle.pop()
            address = self._addresses.get(id_)
            if address is None:
                return None
            retry_at = self._retry_at.get(address)
            if retry_at is not None:
                if self._clock() >= retry_at:
                    self._retry_at[address] = self._clock() + UNREACHABLE_FOR
                    threading.Thread(target=self._retry, args=(id_, address), daemon=True).start()
                return None
        return self._connect(id_, address, deadline)

    def put(self, id_: ReplicaId, client: CallClient) -> None:
        """Return a connection whose last request is answered."""
        with self._lock:
            if id_ in self._addresses:
                self._idle.setdefault(id_, []).append(client)
                return
        client.close()

    def forget(self, id_: ReplicaId) -> None:
        """Close the idle connections of a replica, and make none until its address is learnt again."""
        with self._lock:
            self._addresses.pop(id_, None)
            idle = self._idle.pop(id_, [])
        for client in idle:
            client.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._is_closed = True
            ids = list(self._addresses)
        for id_ in ids:
            self.forget(id_)

    def _connect(self, id_: ReplicaId, address: Address, deadline: float) -> CallClient | None:
        try:
            client = CallClient(address, self._token, deadline)
        except ConnectionRefusedError:  # the process has ended; Ray knows the address of the next one
            self.forget(id_)
            return None
        except OSError:
            with self._lock:
                self._retry_at[address] = self._clock() + UNREACHABLE_FOR
            return None
        with self._lock:
            self._retry_at.pop(address, None)
        return client

    def _retry(self, id_: ReplicaId, address: Address) -> None:
        client = self._connect(id_, address, time.monotonic() + CONNECT_WITHIN)
        if client is not None:
            self.put(id_, client)
