"""Requests to the process of a shard over sockets: who is answered, and what becomes of those who are not."""

from __future__ import annotations

import hmac
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from clipshelf.scale.connections import UNREACHABLE_FOR, Connections
from clipshelf.scale.direct_calls import TOKEN_SIZE, Address, CallClient, CallServer

TOKEN = bytes(range(TOKEN_SIZE))
ID = (0, 0)


def soon() -> float:
    return time.monotonic() + 20


def ask(connection: CallClient, request: bytes) -> bytes:
    connection.send(request, soon())
    return connection.receive(soon())


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.005)


def client(address: Address, token: bytes = TOKEN) -> CallClient:
    return CallClient(address, token, soon())


def server(answer: Callable[[bytes], bytes]) -> CallServer:
    return CallServer(answer, "127.0.0.1", TOKEN)


def test_a_request_of_any_size_is_answered() -> None:
    connection = client(server(lambda request: request[::-1]).address)
    for request in (b"", b"ab", bytes(range(256)) * 20_000):
        assert ask(connection, request) == request[::-1]


def test_connections_are_answered_at_the_same_time() -> None:
    together = threading.Barrier(4)

    def answer(request: bytes) -> bytes:
        together.wait(20)
        return request

    address = server(answer).address
    with ThreadPoolExecutor(4) as pool:
        requests = [b"a", b"b", b"c", b"d"]
        assert list(pool.map(lambda request: ask(client(address), request), requests)) == requests


def test_a_stranger_is_not_answered_and_nothing_of_it_is_read() -> None:
    requests: list[bytes] = []
    address = server(lambda request: requests.append(request) or b"").address  # type: ignore[func-returns-value]
    with pytest.raises(ConnectionAbortedError, match="expected a server with the token"):
        client(address, TOKEN[::-1])
    with socket.create_connection(address) as stranger:  # one that does not mind who the server is
        stranger.settimeout(20)
        stranger.sendall(bytes(32))
        assert len(stranger.recv(64, socket.MSG_WAITALL)) == 64
        stranger.sendall(bytes(32) + (4).to_bytes(8) + b"evil")
        with suppress(ConnectionResetError):  # what it sent was not read
            assert stranger.recv(1) == b""
    with socket.create_connection(address) as half:
        half.sendall(bytes(5))
    assert ask(client(address), b"good") == b"" and requests == [b"good"]


def test_a_server_without_the_token_gets_no_request_and_its_answer_is_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as impostor, ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(client, impostor.getsockname())
        connection, _ = impostor.accept()
        with connection:
            nonce = connection.recv(32, socket.MSG_WAITALL)
            connection.sendall(nonce + bytes(32))  # the same nonce back, and no proof
            with pytest.raises(ConnectionAbortedError, match="expected a server with the token"):
                attempt.result(20)
            assert connection.recv(1) == b""


def test_the_token_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as relay, ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(client, relay.getsockname())
        here, _ = relay.accept()
        with here, socket.create_connection(server(lambda request: request).address) as there:
            there.sendall(first := here.recv(32, socket.MSG_WAITALL))
            here.sendall(answer := there.recv(64, socket.MSG_WAITALL))
            attempt.result(20)
            proof = here.recv(32, socket.MSG_WAITALL)
    assert len({first, answer[:32], answer[32:], proof}) == 4
    assert not any(TOKEN[i : i + 4] in first + answer + proof for i in range(len(TOKEN) - 4))


def test_an_answer_that_does_not_come_in_time_is_an_error_at_the_deadline() -> None:
    stop = threading.Event()
    connection = client(server(lambda request: request if stop.wait(20) else b"").address)
    connection.send(b"slow", soon())
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        connection.receive(time.monotonic() + 0.2)
    assert 0.1 < time.monotonic() - start < 10
    stop.set()


def test_an_answer_that_came_in_time_is_read_after_the_deadline() -> None:
    connection = client(server(lambda request: request).address)
    connection.send(bytes(1 << 20), soon())
    time.sleep(1)
    assert connection.receive(time.monotonic() - 1) == bytes(1 << 20)


def test_an_answer_of_megabytes_is_read_after_the_deadline_though_it_comes_in_parts() -> None:
    answer = bytes(64 << 20)  # more than sockets hold, so that the server waits for the client
    connection = client(server(lambda request: answer).address)
    connection.send(b"", soon())
    time.sleep(1)
    assert connection.receive(time.monotonic() - 1) == answer


def test_an_answer_that_comes_byte_by_byte_ends_at_a_deadline() -> None:
    with client_and_peer() as (connection, peer), ThreadPoolExecutor(1) as pool:
        connection.send(b"", soon())
        peer.sendall((1 << 20).to_bytes(8))
        reading = pool.submit(connection.receive, time.monotonic() + 0.2)
        start = time.monotonic()
        while not reading.done():
            peer.sendall(b"x")
            time.sleep(0.005)
        assert time.monotonic() - start < 10
        with pytest.raises(TimeoutError):
            reading.result()


@contextmanager
def client_and_peer() -> Iterator[tuple[CallClient, socket.socket]]:
    """A client, and the socket of a server that did its part of the handshake and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(client, listening.getsockname())
        peer, _ = listening.accept()
        with peer:
            assert shake_hands(peer)
            yield attempt.result(20), peer


def shake_hands(peer: socket.socket) -> bool:
    """The server's part; whether the client did its own."""
    nonces = peer.recv(32, socket.MSG_WAITALL) + bytes(32)
    peer.sendall(bytes(32) + hmac.digest(TOKEN, b"server" + nonces, "sha256"))
    return peer.recv(32, socket.MSG_WAITALL) == hmac.digest(TOKEN, b"client" + nonces, "sha256")


def test_a_server_that_does_not_read_stops_no_client() -> None:
    with client_and_peer() as (connection, _), pytest.raises(TimeoutError):
        connection.send(bytes(64 << 20), time.monotonic() + 0.3)


def test_connections_are_used_again_and_forgotten_with_the_first_that_fails() -> None:
    connections = Connections(TOKEN)
    assert connections.take(ID, soon()) is None
    connections.learn(ID, server(lambda request: request).address)
    first = connections.take(ID, soon())
    second = connections.take(ID, soon())
    assert first is not None and second is not None and first is not second
    connections.put(ID, first)
    assert connections.is_idle(ID) and connections.take(ID, soon()) is first
    connections.put(ID, first)
    connections.forget(ID)
    assert connections.take(ID, soon()) is None
    with pytest.raises(OSError):
        ask(first, b"closed")
    assert ask(second, b"is used") == b"is used"
    connections.put(ID, second)
    with pytest.raises(OSError):
        ask(second, b"closed")


def test_a_process_that_has_ended_is_forgotten() -> None:
    connections = Connections(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    connections.learn(ID, address)
    assert connections.take(ID, soon()) is None
    connections.learn(ID, server(lambda request: request).address)
    assert connections.take(ID, soon()) is not None


def test_an_address_that_does_not_answer_makes_one_request_wait_and_is_tried_again_in_the_background() -> None:
    now = 0.0
    connections = Connections(TOKEN, lambda: now)
    # A server that does not take the connection, as where a firewall drops packets: the client waits for a reply.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = silent.getsockname()
        connections.learn(ID, address)
        assert connections.take(ID, time.monotonic() + 0.3) is None
        start = time.monotonic()
        for _ in range(100):
            connections.learn(ID, address)
            assert connections.take(ID, soon()) is None
        assert time.monotonic() - start < 0.3
        now += UNREACHABLE_FOR
        assert connections.take(ID, soon()) is None and time.monotonic() - start < 0.6
        with silent.accept()[0] as given_up, silent.accept()[0] as retried:
            assert not shake_hands(given_up) and shake_hands(retried)
            wait_until(lambda: connections.is_idle(ID))
            assert connections.take(ID, soon()) is not None


def test_closed_connections_stay_closed() -> None:
    connections = Connections(TOKEN)
    connections.learn(ID, address := server(lambda request: request).address)
    connections.close()
    connections.learn(ID, address)
    assert connections.take(ID, soon()) is None
