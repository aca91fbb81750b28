"""Hundreds of requests that nobody should send, many at a time, and afterwards a service that is as it was."""

from __future__ import annotations

import json
import logging
import random
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import bombs, raw_http
from support.service import COLOURS, THINGS, RunningService, photo

GOOD = json.dumps({"text": "red shoe", "k": 3}).encode()
AS_JSON = {"Content-Type": "application/json"}
JSON = "Content-Type: application/json"


def post(body: bytes, *headers: str) -> bytes:
    return raw_http.head("POST", "/v1/recommend", JSON, f"Content-Length: {len(body)}", *headers) + body


MALFORMED = [
    b"",
    b"\r\n" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    raw_http.head("GET", "/", "X: " + "a" * 100_000),
    raw_http.head("GET", "/", *(f"X-{number}: y" for number in range(20_000))),
    raw_http.head("GET", "/", "Content-Length: -1"),
    raw_http.head("POST", "/v1/recommend", JSON, "Content-Length: 5", "Content-Length: 6") + b"{}   ",
    raw_http.head("POST", "/v1/recommend", JSON, "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    raw_http.head("POST", "/v1/recommend", JSON, "Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n{}",
    raw_http.head("POST", "/v1/recommend", JSON, "Transfer-Encoding: chunked") + b"zz\r\n",
    raw_http.head("POST", "/v1/recommend", JSON, "Transfer-Encoding: gzip") + zlib.compress(GOOD),
    raw_http.head("GET", "/v1/products/%00%ff%fe/image"),
    raw_http.head("GET", "/v1/products/%/similar?k=%zz&&=&k"),
    raw_http.head("GET", "/v1/products/../../../etc/passwd"),
    raw_http.head("GET", "http://evil.example/v1/catalogue"),
    raw_http.head("GET", "/v1/products/a\x00b"),
    raw_http.head("GET", "/", "Upgrade: websocket", "Connection: Upgrade"),
    raw_http.head("GET", "/", "Upgrade: h2c", "Connection: Upgrade"),
    raw_http.head("CONNECT", "localhost:80"),
    raw_http.head("OPTIONS", "*"),
    raw_http.head("A" * 5000, "/"),
]
BODIES = [
    b"",
    b"\x00",
    b"null",
    b"[]",
    b'"text"',
    b"{" * 100_000,
    b'{"where":' + b"[" * 100_000,
    b'{"where":{"a":' * 2000 + b"1" + b"}}" * 2000,
    b'{"text":"\xff\xfe"}',
    b'{"text":"\\ud800"}',
    b'{"text":"a","text":"b"',
    b'{"k":1e999,"text":"a"}',
    b'{"k":' + b"9" * 5000 + b',"text":"a"}',
    b'{"now":' + b"9" * 5000 + b',"text":"a"}',
    b'{"liked":[' + b'"a",' * 50_000 + b'"a"]}',
    b'{"liked":{' + b",".join(b'"%d":1' % number for number in range(50_000)) + b"}}",
    b'{"liked":[["a",1e308],["a",1e308]]}',
    b'{"history":[["red-shoe","bought","9999-99-99"]]}',
    b'{"where":"' + b"(" * 9000 + b'","text":"a"}',
    b'{"where":"price<1 ' + b"or price<1 " * 800 + b'","text":"a"}',
    b'{"image":"' + b"A" * 1_000_000 + b'"}',
    b'{"image":"data:image/png;base64,' + b"!" * 1000 + b'"}',
    b'{"image":"/etc/passwd"}',
    b'{"image":"file:///etc/passwd"}',
    b'{"image":["a","a","a","a","a","a","a","a","a"]}',
    b'{"profile":{"images":["/etc/passwd"]}}',
    json.dumps({"text": "a" * 10_001}).encode(),
    json.dumps({"text": ["a"] * 33}).encode(),
    json.dumps({"text": "\u202e\x00\x1b[31m" * 100}).encode(),
    json.dumps({"text": "red", "weights": {"text": -1}}).encode(),
    json.dumps({"text": "red", "weights": {"__class__": 1}}).encode(),
]


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in what came from a connection."""
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.fixture(autouse=True)
def unharmed(running: RunningService) -> Any:
    """After each test the service answers as before, and nothing of it failed or is left in memory."""
    yield
    response = running.client.post("/v1/recommend", content=GOOD, headers=AS_JSON)
    assert response.status_code == 200 and response.json()["recommendations"][0]["id"] == "red-shoe"
    assert "clipshelf_failures_total 0.0" in running.client.get("/metrics").text
    assert running.service.bodies.held == 0


def test_malformed_requests(running: RunningService) -> None:
    with ThreadPoolExecutor(16) as pool:
        for answer in pool.map(lambda data: raw_http.exchange(running.port, data, ends=True), MALFORMED * 5):
            assert all(status < 500 for status in statuses(answer))


def test_hostile_bodies(running: RunningService) -> None:
    def ask(body: bytes) -> tuple[bytes, list[int]]:
        return body, statuses(raw_http.exchange(running.port, post(body, "Connection: close")))

    with ThreadPoolExecutor(8) as pool:
        for body, answer in pool.map(ask, BODIES * 3):
            assert len(answer) == 1 and answer[0] in (200, 400, 413, 422), body[:60]
            assert answer[0] != 200 or body.startswith((b'{"text"', b'{"where"')), body[:60]


def test_requests_that_are_cut_off(running: RunningService) -> None:
    """Every prefix of a request, many of them at the same time, and connections that are reset."""
    request = post(GOOD)

    def cut(size: int) -> None:
        with raw_http.connect(running.port) as connection:
            connection.sendall(request[:size])
            if size % 2:  # a reset instead of an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(cut, range(len(request) + 1)))


def test_bytes_at_random(running: RunningService) -> None:
    rng = random.Random(0)
    requests = [bytearray(post(GOOD, "Connection: close")) for _ in range(200)]
    for request in requests:
        for _ in range(rng.randrange(1, 6)):
            request[rng.randrange(len(request))] = rng.randrange(256)
    with ThreadPoolExecutor(16) as pool:
        for answer in pool.map(lambda data: raw_http.exchange(running.port, bytes(data), ends=True), requests):
            assert all(status < 500 for status in statuses(answer))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["text", "image", "liked", "disliked", "history", "k", "where", "exclude", "weights", "diversity", "profile",
          "exclude_bought", "now", "unknown", "explain"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_json_of_any_values_under_the_names_of_fields(running: RunningService, body: dict[str, Any]) -> None:
    for path, data in (("/v1/recommend", body), ("/v1/recommend/batch", {"queries": [{"text": "red"}, body]})):
        response = running.client.post(path, content=json.dumps(data).encode(), headers=AS_JSON)
        assert response.status_code in (200, 400, 422), response.text
        assert response.headers["content-type"] in ("application/json", "application/problem+json")


def test_bombs_many_at_a_time(running: RunningService) -> None:
    pictures = [
        bombs.png(12_000, 12_000),
        bombs.webp(16_000, 16_000),
        bombs.animated_webp(16_000),
        bombs.png_with_texts(),
        photo("red") * 100,
    ]
    assert all(len(picture) < 16 << 20 for picture in pictures)

    def send(picture: bytes) -> int:
        return running.client.post("/v1/recommend", content=picture, headers={"Content-Type": "image/png"}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, pictures * 2)) <= {200, 422, 503, 504}


def test_the_log_has_neither_texts_nor_ids_nor_keys(running: RunningService, caplog: pytest.LogCaptureFixture) -> None:
    secret = "xyzzy-plugh"
    with caplog.at_level(logging.DEBUG):
        running.client.post("/v1/recommend", json={"text": secret, "liked": [secret]})
        running.client.post(f"/v1/recommend?text={secret}&where={secret}", content=photo("red"))
        running.client.get(f"/v1/products/{secret}/similar?where={secret}")
        running.client.post("/v1/embeddings", json={"input": secret, "model": secret})
        running.client.get(f"/{secret}", headers={"Authorization": f"Bearer {secret}"})
        raw_http.exchange(running.port, secret.encode(), ends=True)
    ours = [record for record in caplog.records if record.name.startswith(("clipshelf", "uvicorn"))]
    assert ours and not any(secret in record.getMessage() for record in ours)


def test_many_clients_at_once_get_each_their_own_answer(running: RunningService) -> None:
    """Good requests among bad ones, on connections that are kept."""
    recommender = running.service.keeper.current.recommender
    texts = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    expected = {text: [item.id for item in recommender.recommend(text=text)] for text in texts}
    wrong: list[str] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(20):
            text = rng.choice(texts)
            answer = running.client.post("/v1/recommend", json={"text": text}).json()
            running.client.post("/v1/recommend", content=rng.choice(BODIES), headers=AS_JSON)
            if [item["id"] for item in answer.get("recommendations", ())] != expected[text]:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
