"""What one request may cost others: pictures, texts and products are bounded, and dropped with their request."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from clipshelf.serve.batching import Batcher
from clipshelf.serve.metrics import Metrics
from clipshelf.serve.settings import Settings
from support import raw_http
from support.service import RunningService, Serve, photo, wait_until

PICTURE = {"image": base64.b64encode(photo("red")).decode()}


class HeldDecoder:
    """Makes pictures of a service wait for `go_on`, and counts those that were begun."""

    def __init__(self, service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.begun = 0
        engine = service.service.keeper.engine
        prepare = engine.prepare_image

        def wait(*args: Any) -> Any:
            self.begun += 1
            self.go_on.wait(20)
            return prepare(*args)

        monkeypatch.setattr(engine, "prepare_image", wait)


def test_pictures_that_wait_are_dropped_at_the_deadline(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(Settings(deadline=0.3, decoders=1))
    held = HeldDecoder(service, monkeypatch)
    response = service.client.post("/v1/embeddings", json={"input": [PICTURE] * 50})
    assert response.status_code == 504 and "(--deadline)" in response.json()["detail"]
    held.go_on.set()
    assert service.client.post("/v1/recommend", json=PICTURE).status_code == 200
    assert held.begun == 2


def test_pictures_of_a_client_that_went_are_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(Settings(decoders=1))
    held = HeldDecoder(service, monkeypatch)
    body = b'{"image": [' + b", ".join([b'"%s"' % PICTURE["image"].encode()] * 8) + b"]}"
    headers = "Content-Type: application/json", f"Content-Length: {len(body)}"
    with raw_http.connect(service.port) as connection:
        connection.sendall(raw_http.head("POST", "/v1/recommend", *headers) + body)
        wait_until(lambda: held.begun == 1)
    wait_until(lambda: 'status="499"' in service.client.get("/metrics").text)
    held.go_on.set()
    assert service.client.post("/v1/recommend", json=PICTURE).status_code == 200
    assert held.begun == 2


def test_pictures_behind_a_bad_one_are_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(Settings(decoders=1))
    held = HeldDecoder(service, monkeypatch)
    held.go_on.set()
    response = service.client.post("/v1/embeddings", json={"input": [{"image": "bm90aGluZw=="}, *[PICTURE] * 50]})
    assert response.status_code == 422
    assert held.begun < 10


def test_a_request_with_many_pictures_lets_others_in_between(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(Settings(decoders=1))
    held = HeldDecoder(service, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        many = pool.submit(service.client.post, "/v1/embeddings", json={"input": [PICTURE] * 200})
        wait_until(lambda: held.begun == 1)
        single = pool.submit(service.client.post, "/v1/recommend", json=PICTURE)
        wait_until(lambda: service.service.metrics.in_progress._value.get() == 2)
        held.go_on.set()
        assert single.result().status_code == 200
        assert not many.done()
        assert many.result().status_code == 200


def test_a_body_that_takes_longer_than_the_deadline_is_answered(serve: Serve) -> None:
    service = serve(Settings(deadline=0.5))
    body = b'{"text": "red shoe"}'
    headers = "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"
    with raw_http.connect(service.port) as connection:
        connection.sendall(raw_http.head("POST", "/v1/recommend", *headers) + body[:5])
        time.sleep(0.7)
        connection.sendall(body[5:])
        assert raw_http.read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"text": ["x" * 6000, "y" * 6000]}, "text: expected at most 10,000 characters in all texts, found 12,000"),
        (
            {"liked": ["red-shoe"], "k": 200, "group_by": "category", "group_members": 100},
            "k: expected at most 10,000 products with the members of groups, found 20,200",
        ),
        (
            {"liked": [f"product-{i}" for i in range(1000)], "k": 2000, "unknown": "ignore"},
            "k: expected k times the number of signals of at most 1,000,000, found more",
        ),
        (
            {"liked": [f"product-{i}" for i in range(100)], "k": 2000, "unknown": "ignore", "explain": True},
            "k: expected k times the number of signals that are explained of at most 100,000, found more",
        ),
    ],
)
def test_a_query_that_costs_too_much_is_refused(running: RunningService, body: dict[str, Any], detail: str) -> None:
    response = running.client.post("/v1/recommend", json=body)
    assert response.status_code == 422 and response.json()["detail"] == detail
    (answer,) = running.client.post("/v1/recommend/batch", json={"queries": [body]}).json()["answers"]
    assert answer["error"]["detail"] == detail


@pytest.mark.parametrize("name", ["liked", "disliked", "boost", "fresh"])
def test_a_mapping_of_too_many_entries_is_refused_where_it_is_parsed(running: RunningService, name: str) -> None:
    response = running.client.post("/v1/recommend", json={"text": "red", name: {f"id{i}": 1 for i in range(1001)}})
    assert response.status_code == 422 and response.json()["type"] == "/problems/bad-request"
    assert response.json()["detail"].startswith(f"{name}: expected `object` of length <= ".replace("`", ""))


def test_queries_of_a_batch_share_the_products_of_one(running: RunningService) -> None:
    queries = [{"text": "red", "k": 1000}] * 11
    response = running.client.post("/v1/recommend/batch", json={"queries": queries})
    assert response.status_code == 422
    assert response.json()["detail"] == "queries: expected a sum of k of at most 10000, found 11000"


def test_expensive_items_make_small_batches() -> None:
    batches: list[list[int]] = []

    def compute(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        return list(items)

    async def submit() -> None:
        with ThreadPoolExecutor(1) as pool:
            settings: dict[str, Any] = {"batch": 4, "cost": lambda item: item, "most": 10, "queue": 100}
            batcher: Batcher[int, int] = Batcher("items", compute, pool, **settings, metrics=Metrics())
            await asyncio.gather(*batcher.submit([1]), *batcher.submit([9, 9, 1, 1, 1, 1, 1, 50, 1]))

    asyncio.run(submit())
    assert batches == [[1], [9, 9], [1, 1, 1, 1], [1, 50], [1]]


def test_connections_without_end_leave_probes_alive(serve: Serve) -> None:
    service = serve(Settings(connections=5))
    idle = [raw_http.connect(service.port) for _ in range(6)]
    wait_until(lambda: len(service.server.server_state.connections) > 6)
    refused = service.client.get("/v1/catalogue")
    assert refused.status_code == 503 and refused.headers["retry-after"] and "connections" in refused.json()["detail"]
    assert service.client.get("/health/live").status_code == 200
    more = [raw_http.connect(service.port) for _ in range(10)]
    wait_until(lambda: len(service.server.server_state.connections) <= 10)
    for connection in (*idle, *more):
        connection.close()
    wait_until(lambda: service.client.get("/v1/catalogue").status_code == 200)
