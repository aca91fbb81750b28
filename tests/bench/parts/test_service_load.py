"""The parts that load services, on `clipshelf serve` with a tiny artifact."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from clipshelf_bench.contenders.base import Job
from clipshelf_bench.load import fastapi_service
from clipshelf_bench.load.client import Outcome
from clipshelf_bench.load.services import SERVICES, ClipshelfService, Wish
from clipshelf_bench.parts import service_load, service_soak
from clipshelf_bench.subjects.subject import Subject
from starlette.testclient import TestClient
from support import fake_contenders as fakes


@pytest.fixture
def subject(tmp_path: Path, tiny_artifact: Path) -> Subject:
    made = Subject("tiny", tmp_path / "subject", None, tiny_artifact, 16, 32)
    made.save()
    return made


def test_our_service_is_loaded_and_the_others_are_skipped(
    tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_load, "_SECONDS_QUICK", 0.2)
    monkeypatch.setattr(service_load, "_PRODUCTS", 50)
    monkeypatch.delenv("CLIPSHELF_BENCH_INFINITY", raising=False)
    monkeypatch.setenv("PATH", "")
    bench = fakes.make_bench(tmp_path)
    bench.subjects = [subject]
    closed, clients, overload, memory = service_load.service_load(bench)
    cases = [row["case"] for row in closed.rows]
    assert cases == ["text, 32 clients", "photo, 32 clients", "both, 32 clients", "likes, 32 clients"]
    for row in (*closed.rows, *clients.rows):
        assert row["contender"] == "clipshelf" and row["lost"] == 0
        assert row["per second"] > 0 and row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert set(closed.skipped) == {service.name for service in SERVICES} - {"clipshelf"}
    for row in overload.rows:
        assert row["lost"] == 0 and row["answered"] + row["refused"] == row["sent"]
    assert 0 < memory.rows[0]["rss_mb"] <= memory.rows[0]["highest_mb"]


def test_a_soak_measures_memory_after_each_part_of_its_time(
    tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_load, "_PRODUCTS", 50)
    monkeypatch.setattr(service_soak, "_ROWS", 2)
    bench = fakes.make_bench(tmp_path)
    bench.subjects, bench.soak_minutes = [subject], 0.01
    (table,) = service_soak.service_soak(bench)
    assert [row["case"] for row in table.rows] == ["0.005 minutes", "0.01 minutes"]
    assert table.rows[0]["growth_percent"] == 0
    assert all(row["requests"] > 0 and row["lost"] == 0 for row in table.rows)


def test_rows_have_ratios_of_answers_per_second() -> None:
    ours, theirs = Outcome([1.0] * 30, [], {"200": 30}, 1.0), Outcome([2.0] * 10, [5.0], {"200": 10, "503": 1}, 1.0)
    row = service_load._closed_row("text", "theirs", {"clipshelf": [ours, ours], "theirs": [theirs, theirs]})
    assert (row["per second"], row["ratio"], row["p50_ms"], row["p99 / p50"], row["lost"]) == (10, 3, 2, 1, 2)
    silent = service_load._closed_row("text", "silent", {"silent": [Outcome([], [], {"timeout": 3}, 1.0)]})
    assert silent == {"case": "text", "contender": "silent", "per second": 0, "lost": 3}


def test_fastapi_ranks_what_the_contender_embeds(
    tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastapi_service, "load_contender", lambda _: fakes.FromFiles())
    job = Job(1, subject, tmp_path / "rows.npy")
    np.save(tmp_path / "rows.npy", np.eye(3, dtype=np.float32).repeat(5, axis=0))
    body = ClipshelfService().body(Wish(liked=["5", "6"]))
    with TestClient(fastapi_service.make_app("fake", job)) as client:
        answer = client.post("/v1/recommend", json=body).json()["recommendations"]
    assert {item["id"] for item in answer[:5]} == {"5", "6", "7", "8", "9"} and answer[0]["score"] == pytest.approx(1)


def test_fastapi_computes_as_many_requests_at_one_time_as_threads(
    tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter, limits = SimpleNamespace(total_tokens=40), list[tuple[int, str]]()
    monkeypatch.setattr(fastapi_service, "load_contender", lambda _: fakes.FromFiles())
    monkeypatch.setattr("anyio.to_thread.current_default_thread_limiter", lambda: limiter)

    def limit(count: int, api: str) -> AbstractContextManager[None]:
        limits.append((count, api))
        return nullcontext()

    monkeypatch.setattr(fastapi_service, "threadpool_limits", limit)
    np.save(tmp_path / "rows.npy", np.eye(3, dtype=np.float32))
    with TestClient(fastapi_service.make_app("fake", Job(3, subject, tmp_path / "rows.npy"))):
        assert limiter.total_tokens == 3 and limits == [(1, "blas")]


def test_infinity_is_asked_as_it_expects() -> None:
    infinity = next(service for service in SERVICES if service.name == "infinity")()
    assert infinity.body(Wish(text="a shoe")) == {"model": "clip", "input": ["a shoe"], "modality": "text"}
    assert infinity.body(Wish(image="QUJD"))["input"] == ["data:image/jpeg;base64,QUJD"]
