"""HTTP as hostile clients speak it: bytes on a socket."""

from __future__ import annotations

import socket
import time


def connect(port: int, timeout: float = 20.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def head(method: str, path: str, *headers: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes; nothing more after a reset."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def exchange(port: int, data: bytes, *, ends: bool = False) -> bytes:
    """Send bytes and read until the other side closes; with `ends`, say before that there are no more."""
    with connect(port) as connection:
        try:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        return read_all(connection)


def seconds_until_closed(connection: socket.socket, drip: bytes = b"", interval: float = 0.05) -> float:
    """How long the other side keeps a connection open while `drip` is sent again and again."""
    start = time.monotonic()
    connection.settimeout(interval)
    while time.monotonic() - start < 20:
        try:
            if drip:
                connection.sendall(drip)
            if not connection.recv(1 << 16):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return time.monotonic() - start
