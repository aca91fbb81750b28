"""Requests to the process of a shard over a socket, for which a call of an actor of Ray takes too long.

A connection begins with a handshake. Each side proves that it has the token that both got from Ray; the token itself is
not sent:

    client    a nonce
    server    a nonce, HMAC-SHA256 of "server" and both nonces
    client    HMAC-SHA256 of "client" and both nonces

After that, a message is its length in 8 bytes, then its content. Neither side reads anything of one without the token.
`multiprocessing.connection` has such a handshake too; it uses MD5 before Python 3.12, and its reads know no deadline.
"""

from __future__ import annotations

import hmac
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
_NONCE_SIZE = 32
_PROOF_SIZE = 32
_LENGTH = struct.Struct("!Q")
_HANDSHAKE_WITHIN = 5.0  # seconds
_RETRY_DELAY = 0.05  # seconds
# Seconds after its deadline in which an answer is still read that came while another server was waited for: its begin,
# and the rest of it, which may be megabytes.
_BEGIN_WITHIN, _REST_WITHIN = 0.01, 1.0


class CallServer:
    """Answers requests until its process ends, each connection in a thread.

    - `answer`: makes an answer of a request; called by many threads.
    - `host`: address of this machine that clients reach.
    - `token`: that clients have, `TOKEN_SIZE` bytes.
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
                self._handshake(client)
                client.settimeout(None)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                while True:
                    answer = self._answer(_read(client, *_LENGTH.unpack(_read(client, _LENGTH.size))))
                    client.sendall(_LENGTH.pack(len(answer)) + answer)
            except OSError:
                return  # the client went away, or has no token

    def _handshake(self, client: socket.socket) -> None:
        """Prove the token, and let the client prove it; raises OSError where it does not."""
        deadline = time.monotonic() + _HANDSHAKE_WITHIN
        nonces = _read(client, _NONCE_SIZE, deadline), secrets.token_bytes(_NONCE_SIZE)
        client.sendall(nonces[1] + _proof(self._token, b"server", *nonces))
        _check_proof(_read(client, _PROOF_SIZE, deadline), self._token, b"client", *nonces)


class CallClient:
    """A connection to a `CallServer`, for one request at a time.

    - `address`: of the server.
    - `token`: that it must have, too.
    - `deadline`: of `time.monotonic`, until which it must have proved that.

    Raises OSError where the connection cannot be made. One whose request failed is of no more use, since the answer may
    still come.
    """

    def __init__(self, address: Address, token: bytes, deadline: float) -> None:
        self._socket = socket.create_connection(address, timeout=_remaining(deadline))
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshake(token, deadline)
        except BaseException:
            self._socket.close()
            raise

    def send(self, request: bytes, deadline: float) -> None:
        """Send a request. Raises OSError, also where it cannot be sent until `deadline`, of `time.monotonic`."""
        self._socket.settimeout(_remaining(max(deadline, time.monotonic() + _BEGIN_WITHIN)))
        self._socket.sendall(_LENGTH.pack(len(request)) + request)

    def receive(self, deadline: float) -> bytes:
        """The answer to the request that was sent. Raises OSError, also where none begins until `deadline`."""
        header = _read(self._socket, _LENGTH.size, max(deadline, time.monotonic() + _BEGIN_WITHIN))
        (length,) = _LENGTH.unpack(header)
        return _read(self._socket, length, max(deadline, time.monotonic() + _REST_WITHIN))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _handshake(self, token: bytes, deadline: float) -> None:
        nonce = secrets.token_bytes(_NONCE_SIZE)
        self._socket.sendall(nonce)
        nonces = nonce, _read(self._socket, _NONCE_SIZE, deadline)
        _check_proof(_read(self._socket, _PROOF_SIZE, deadline), token, b"server", *nonces)
        self._socket.sendall(_proof(token, b"client", *nonces))


def _proof(token: bytes, side: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """What shows that a side has the token, in this connection alone."""
    return hmac.digest(token, side + client_nonce + server_nonce, "sha256")


def _check_proof(proof: bytes, token: bytes, side: bytes, client_nonce: bytes, server_nonce: bytes) -> None:
    if not hmac.compare_digest(proof, _proof(token, side, client_nonce, server_nonce)):
        raise ConnectionAbortedError(f"expected a {side.decode()} with the token, found another one")


def _read(source: socket.socket, size: int, deadline: float | None = None) -> bytes:
    """Read `size` bytes; raises OSError where the other side ends before that or the time is up."""
    content = bytearray(size)
    view = memoryview(content)
    while view:
        if deadline is not None:
            source.settimeout(_remaining(deadline))
        count = source.recv_into(view)
        if not count:
            raise ConnectionResetError("expected a whole message, found its end")
        view = view[count:]
    return bytes(content)


def _remaining(deadline: float) -> float:
    """Seconds until a deadline; raises TimeoutError after it."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("expected an answer in time, found none")
    return seconds
