"""What a client may cost: bodies, time, rate, room. Each refusal names the option and says when to come again."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from clipshelf.serve.settings import Settings
from support import bombs, raw_http
from support.service import RunningService, Serve, photo, wait_until


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunningService], threading.Event]:
    """Makes the inference of a service wait for an event, as one that takes long."""

    def hold(service: RunningService) -> threading.Event:
        go_on = threading.Event()
        engine = service.service.keeper.engine
        embed = engine.embed_texts

        def wait(*args: Any, **options: Any) -> Any:
            go_on.wait(20)
            return embed(*args, **options)

        monkeypatch.setattr(engine, "embed_texts", wait)
        return go_on

    return hold


def metric(service: RunningService, line: str) -> float:
    """The value of a line of the metrics, 0 for one that is not there."""
    for each in service.client.get("/metrics").text.splitlines():
        if each.startswith(f"{line} "):
            return float(each.split()[-1])
    return 0.0


def test_a_large_body_is_refused_by_its_announced_size_or_while_it_comes(serve: Serve) -> None:
    service = serve(Settings(body_limit=10_000))
    announced = service.client.post("/v1/recommend", json={"text": "x" * 10_000})
    chunks = (b" " * 1000 for _ in range(1000))
    endless = service.client.post("/v1/recommend", content=chunks, headers={"Content-Type": "application/json"})
    for response in (announced, endless):
        assert response.status_code == 413
        assert "10000 bytes (--body-limit)" in response.json()["detail"]


def test_bodies_share_memory(serve: Serve) -> None:
    service = serve(Settings(body_limit=60_000, body_memory=100_000))
    with raw_http.connect(service.port) as first:
        first.sendall(
            raw_http.head("POST", "/v1/recommend", "Content-Type: application/json", "Content-Length: 60000")
            + b" " * 59_000
        )
        wait_until(lambda: service.service.bodies.held == 59_000)
        refused = service.client.post(
            "/v1/recommend", content=b" " * 50_000, headers={"Content-Type": "application/json"}
        )
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert "--body-memory" in refused.json()["detail"]
    wait_until(lambda: service.service.bodies.held == 0)
    assert service.client.post("/v1/recommend", json={"text": "red shoe"}).status_code == 200


def test_a_slow_body_and_a_slow_head_are_cut_off(serve: Serve) -> None:
    service = serve(Settings(body_timeout=0.3, head_timeout=0.3))
    with raw_http.connect(service.port) as slow_body:
        slow_body.sendall(
            raw_http.head("POST", "/v1/recommend", "Content-Type: application/json", "Content-Length: 1000")
        )
        assert b"408" in raw_http.read_all(slow_body).splitlines()[0]
    for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\n"):
        with raw_http.connect(service.port) as slow_head:
            slow_head.sendall(start)
            assert raw_http.seconds_until_closed(slow_head, drip=b"X-A: b\r\n" if start.endswith(b"\n") else b"") < 5


def test_an_endless_body_behind_an_answer_is_cut_off(serve: Serve) -> None:
    service = serve(Settings(body_limit=1000, head_timeout=0.3))
    with raw_http.connect(service.port) as connection:
        connection.sendall(
            raw_http.head("POST", "/v1/recommend", "Content-Type: application/json", "Content-Length: 99999999")
        )
        assert raw_http.seconds_until_closed(connection, drip=b" " * 10_000) < 5


def test_a_client_that_does_not_read_is_cut_off(serve: Serve) -> None:
    service = serve(Settings(write_timeout=0.3, head_timeout=0.3))
    with raw_http.connect(service.port) as connection:
        connection.sendall(raw_http.head("GET", "/openapi.json") * 2000)
        wait_until(lambda: not service.server.server_state.connections or _is_closed(connection))


def _is_closed(connection: Any) -> bool:
    try:
        connection.send(b"\r\n")
    except OSError:
        return True
    return False


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(
    serve: Serve, held: Callable[[RunningService], threading.Event]
) -> None:
    service = serve(Settings(queue=4, batch=2))
    go_on = held(service)

    def ask(number: int) -> Any:
        return service.client.post("/v1/recommend", json={"text": f"red {number}"})

    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(ask, number) for number in range(12)]
        wait_until(lambda: sum(answer.done() for answer in answers) == 12 - 4 - 1)
        refused = [answer.result() for answer in answers if answer.done()]
        go_on.set()
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200] * 5 + [503] * 7
    for response in refused:
        assert response.headers["retry-after"] == "1" and "(--queue)" in response.json()["detail"]
    assert metric(service, 'clipshelf_shed_requests_total{reason="queue"}') == 7


def test_a_full_queue_refuses_before_a_body_is_read_or_a_picture_is_decoded(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(Settings(queue=2, decoders=1))
    engine, go_on, decoded = service.service.keeper.engine, threading.Event(), 0
    prepare = engine.prepare_image

    def wait(source: Any) -> Any:
        nonlocal decoded
        decoded += 1
        go_on.wait(20)
        return prepare(source)

    monkeypatch.setattr(engine, "prepare_image", wait)

    def ask(_: int) -> Any:
        return service.client.post("/v1/recommend", content=photo("red"), headers={"Content-Type": "image/jpeg"})

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, number) for number in range(2)]
        wait_until(lambda: metric(service, "clipshelf_requests_in_progress") == 3 and decoded == 1)
        for path in ("/v1/recommend", "/v1/recommend/batch"):
            announced = "Content-Type: application/json", "Content-Length: 1000", "Connection: close"
            answer = raw_http.exchange(service.port, raw_http.head("POST", path, *announced))
            assert b"503" in answer.splitlines()[0] and b"--queue" in answer
        go_on.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
    assert ask(0).status_code == 200


def test_more_requests_than_room_are_refused(serve: Serve, held: Callable[[RunningService], threading.Event]) -> None:
    service = serve(Settings(requests=1))
    go_on = held(service)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.client.post, "/v1/recommend", json={"text": "red"})
        wait_until(lambda: not service.service.answers.is_idle)
        refused = service.client.get("/v1/catalogue")
        assert refused.status_code == 503 and "(--requests)" in refused.json()["detail"]
        assert service.client.get("/health/live").status_code == 200
        go_on.set()
        assert first.result().status_code == 200


def test_a_request_is_given_up_at_its_deadline(serve: Serve, held: Callable[[RunningService], threading.Event]) -> None:
    service = serve(Settings(deadline=0.2))
    go_on = held(service)
    response = service.client.post("/v1/recommend", json={"text": "red"})
    assert response.status_code == 504 and "(--deadline)" in response.json()["detail"]
    waiting = service.client.post("/v1/recommend", json={"text": "blue"})  # behind the one that still runs
    assert waiting.status_code == 504
    go_on.set()
    wait_until(lambda: metric(service, 'clipshelf_dropped_queries_total{reason="gone"}') == 1)
    assert service.client.post("/v1/recommend", json={"text": "blue"}).status_code == 200


def test_a_client_that_has_gone_is_not_computed(
    serve: Serve, held: Callable[[RunningService], threading.Event]
) -> None:
    service = serve(Settings())
    go_on = held(service)
    body = b'{"text": "red"}'
    request = raw_http.head("POST", "/v1/recommend", "Content-Type: application/json", f"Content-Length: {len(body)}")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.client.post, "/v1/recommend", json={"text": "blue"})
        wait_until(lambda: not service.service.answers.is_idle)
        for _ in range(5):
            with raw_http.connect(service.port) as leaving:
                leaving.sendall(request + body)
        wait_until(lambda: metric(service, 'clipshelf_request_seconds_count{operation="recommend",status="499"}') == 5)
        go_on.set()
        assert first.result().status_code == 200
    wait_until(lambda: metric(service, 'clipshelf_dropped_queries_total{reason="gone"}') == 5)
    assert metric(service, "clipshelf_answers_total") == 1


def test_waiting_queries_are_computed_together(serve: Serve, held: Callable[[RunningService], threading.Event]) -> None:
    service = serve(Settings())
    go_on = held(service)
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(service.client.post, "/v1/recommend", json={"text": "red"}) for _ in range(9)]
        wait_until(lambda: metric(service, 'clipshelf_queue_depth{queue="recommend"}') == 8)
        go_on.set()
        assert all(answer.result().status_code == 200 for answer in answers)
    assert metric(service, 'clipshelf_batch_size_count{queue="recommend"}') == 2
    assert metric(service, 'clipshelf_batch_size_sum{queue="recommend"}') == 9


def test_a_batch_that_fails_as_a_whole_fails_for_the_guilty_alone(
    serve: Serve, held: Callable[[RunningService], threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(Settings())
    go_on = held(service)
    engine = service.service.keeper.engine
    embed = engine.embed_texts

    def fail(texts: list[str], **options: Any) -> Any:
        if any("green" in text for text in texts):
            raise RuntimeError("green")
        return embed(texts, **options)

    monkeypatch.setattr(engine, "embed_texts", fail)
    with ThreadPoolExecutor(4) as pool:
        answers = [
            pool.submit(service.client.post, "/v1/recommend", json={"text": text}) for text in ("red", "green", "blue")
        ]
        go_on.set()
        statuses = [answer.result().status_code for answer in answers]
    assert statuses == [200, 500, 200]


def test_a_client_has_a_rate(serve: Serve) -> None:
    service = serve(Settings(rate=2.0))
    statuses = [service.client.get("/v1/models").status_code for _ in range(8)]
    assert statuses[:4] == [200] * 4 and statuses[-1] == 429
    refused = service.client.post("/v1/recommend/batch", json={"queries": [{"text": "red"}] * 4})
    assert refused.status_code == 429 and refused.headers["retry-after"] in ("1", "2")
    assert service.client.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    ("make", "reason", "message"),
    [
        (lambda: bombs.png(20_000, 20_000), "limit", "400,000,000 pixels"),
        (lambda: bombs.webp(16_000, 16_000), "limit", "pixels"),
        (lambda: b"no picture" * 10, "format", "no known format"),
        (lambda: photo("red")[:300], "unreadable", "expected a picture"),
    ],
)
def test_a_bad_picture_is_refused_and_counted(
    running: RunningService, make: Callable[[], bytes], reason: str, message: str
) -> None:
    line = f'clipshelf_bad_pictures_total{{reason="{reason}"}}'
    before = metric(running, line)
    data = make()
    response = running.client.post("/v1/recommend", content=data, headers={"Content-Type": "image/png"})
    assert response.status_code == 422 and response.json()["type"] == "/problems/bad-picture"
    assert message in response.json()["detail"]
    encoded = base64.b64encode(data).decode()
    assert running.client.post("/v1/recommend", json={"image": encoded}).status_code == 422
    assert metric(running, line) == before + 2


def test_answers_are_the_same_alone_and_in_a_batch(running: RunningService) -> None:
    texts = ["red shoe", "blue watch warm", "green", "shirt"]
    with ThreadPoolExecutor(8) as pool:
        jobs = [(text, pool.submit(running.client.post, "/v1/recommend", json={"text": text})) for text in texts * 8]
        for text, job in jobs:
            expected = running.service.keeper.current.recommender.recommend(text=text)
            items = job.result().json()["recommendations"]
            assert [item["id"] for item in items] == [item.id for item in expected]
            np.testing.assert_allclose([item["score"] for item in items], [item.score for item in expected], rtol=1e-6)
