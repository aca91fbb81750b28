"""Requests to the process of a shard over sockets: who is answered, and what becomes of those who are not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from clipshelf.scale.connections import Connections
from clipshelf.scale.direct_calls import TOKEN_SIZE, CallClient, CallServer

TOKEN = bytes(range(TOKEN_SIZE))
ID = (0, 0)


def soon() -> float:
    return time.monotonic() + 20


def ask(client: CallClient, request: bytes) -> bytes:
    client.send(request, soon())
    return client.receive(soon())


def server(answer: Callable[[bytes], bytes]) -> CallServer:
    return CallServer(answer, "127.0.0.1", TOKEN)


def test_a_request_of_any_size_is_answered() -> None:
    client = CallClient(server(lambda request: request[::-1]).address, TOKEN)
    for request in (b"", b"ab", bytes(range(256)) * 20_000):
        assert ask(client, request) == request[::-1]


def test_connections_are_answered_at_the_same_time() -> None:
    together = threading.Barrier(4)

    def answer(request: bytes) -> bytes:
        together.wait(20)
        return request

    address = server(answer).address
    with ThreadPoolExecutor(4) as pool:
        requests = [b"a", b"b", b"c", b"d"]
        assert list(pool.map(lambda request: ask(CallClient(address, TOKEN), request), requests)) == requests


def test_a_stranger_is_not_answered_and_nothing_of_it_is_read() -> None:
    seen: list[bytes] = []
    address = server(lambda request: seen.append(request) or b"").address  # type: ignore[func-returns-value]
    client = CallClient(address, TOKEN[::-1])
    with pytest.raises(OSError):
        ask(client, b"anything")
    with socket.create_connection(address) as half:
        half.sendall(TOKEN[:5])
    assert ask(CallClient(address, TOKEN), b"good") == b"" and seen == [b"good"]


def test_an_answer_that_does_not_come_in_time_is_an_error_at_the_deadline() -> None:
    stop = threading.Event()
    client = CallClient(server(lambda request: request if stop.wait(20) else b"").address, TOKEN)
    client.send(b"slow", soon())
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        client.receive(time.monotonic() + 0.2)
    assert 0.1 < time.monotonic() - start < 10
    stop.set()


def test_an_answer_that_came_in_time_is_read_after_the_deadline() -> None:
    client = CallClient(server(lambda request: request).address, TOKEN)
    client.send(bytes(1 << 20), soon())
    time.sleep(1)
    assert client.receive(time.monotonic() - 1) == bytes(1 << 20)


def test_a_server_that_does_not_read_stops_no_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = CallClient(silent.getsockname(), TOKEN)
        with pytest.raises(TimeoutError):
            client.send(bytes(64 << 20), time.monotonic() + 0.3)


def test_connections_are_used_again_and_forgotten_with_the_first_that_fails() -> None:
    connections = Connections(TOKEN)
    assert connections.take(ID) is None
    connections.learn(ID, server(lambda request: request).address)
    first = connections.take(ID)
    second = connections.take(ID)
    assert first is not None and second is not None and first is not second
    connections.put(ID, first)
    assert connections.take(ID) is first
    connections.put(ID, first)
    connections.drop(ID, second)
    assert connections.take(ID) is None
    with pytest.raises(OSError):
        ask(first, b"closed")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    connections.learn(ID, address)
    assert connections.take(ID) is None
