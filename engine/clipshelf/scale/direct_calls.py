"""Requests to the process of a shard over a socket, for which a call of an actor of Ray takes too long.

A message is its length in 8 bytes, then its content. The first message of a client is a token that both sides have from
Ray; a server closes connections of others before it reads anything else.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

# Host and port.
Address: TypeAlias = tuple[str, int]

TOKEN_SIZE = 32
_LENGTH = struct.Struct("!Q")
_TOKEN_WITHIN = 5.0  # seconds
_CONNECT_WITHIN = 1.0  # seconds
_READ_WITHIN = 0.01  # seconds
_RETRY_DELAY = 0.05  # seconds


class CallServer:
    """Answers requests until its process ends, each connection in a thread.

    - `answer`: makes an answer of a request; called by many threads.
    - `host`: address of this machine that clients reach.
    - `token`: of clients, `TOKEN_SIZE` bytes.
    """

    def __init__(self, answer: Callable[[bytes], bytes], host: str, token: bytes) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._answer, self._token = answer, token
        self._socket = socket.create_server((host, 0), family=family)
        self.address: Address = (host, self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:  # no file descriptor left, or a client that went away
                time.sleep(_RETRY_DELAY)
                continue
            try:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()
            except RuntimeError:  # no thread left
                client.close()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                if not secrets.compare_digest(_read(client, TOKEN_SIZE, time.monotonic() + _TOKEN_WITHIN), self._token):
                    return
                client.settimeout(None)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                while True:
                    answer = self._answer(_read(client, *_LENGTH.unpack(_read(client, _LENGTH.size))))
                    client.sendall(_LENGTH.pack(len(answer)) + answer)
            except OSError:
                return  # the client went away, or was none


class CallClient:
    """A connection to a `CallServer`, for one request at a time. Raises OSError where it cannot be made.

    A connection whose request failed is of no more use, since the answer may still come.
    """

    def __init__(self, address: Address, token: bytes) -> None:
        self._socket = socket.create_connection(address, timeout=_CONNECT_WITHIN)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(token)

    def send(self, request: bytes, deadline: float) -> None:
        """Send a request. Raises OSError, also where it cannot be sent until `deadline`, of `time.monotonic`."""
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(_LENGTH.pack(len(request)) + request)

    def receive(self, deadline: float) -> bytes:
        """The answer to the request that was sent. Raises OSError, also where there is none until `deadline`."""
        (length,) = _LENGTH.unpack(_read(self._socket, _LENGTH.size, deadline))
        return _read(self._socket, length, deadline)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _read(source: socket.socket, size: int, deadline: float | None = None) -> bytes:
    """Read `size` bytes; raises OSError where the other side ends before that or the time is up."""
    content = bytearray(size)
    view = memoryview(content)
    while view:
        if deadline is not None:
            source.settimeout(_left(deadline))
        count = source.recv_into(view)
        if not count:
            raise ConnectionResetError("expected a whole message, found its end")
        view = view[count:]
    return bytes(content)


def _left(deadline: float) -> float:
    """Seconds until a deadline; after it, enough to read an answer that came while another server was waited for."""
    return max(_READ_WITHIN, deadline - time.monotonic())
