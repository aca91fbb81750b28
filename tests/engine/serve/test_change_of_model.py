"""A service follows a catalogue to another model, and back."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clipshelf import Engine
from clipshelf.catalogue.reembedding import reembed, switch, switch_back
from clipshelf.errors import ClipshelfError
from clipshelf.serve.settings import Settings
from support import tiny
from support.service import RunningService, Serve, photo, wait_until

QUERY = {"text": "red shoe", "k": 1}


@pytest.fixture
def other(tmp_path: Path) -> Engine:
    return Engine.load(tiny.write_artifact(tmp_path / "new", dim=6, seed=1), threads=1)


def model_of(service: RunningService) -> str:
    response = service.client.post("/v1/recommend", json=QUERY)
    assert response.status_code == 200
    return str(response.headers["clipshelf-fingerprint"])


def test_requests_are_answered_all_the_time_while_the_model_changes_and_changes_back(
    serve: Serve, other: Engine, tiny_engine: Engine
) -> None:
    service = serve(Settings(reload_interval=0.05, writable=True))
    folder = service.service.keeper.folder
    done = threading.Event()
    seen: Counter[tuple[int, str, str]] = Counter()

    def ask(call: int) -> None:
        picture = {"content": photo("red"), "headers": {"Content-Type": "image/jpeg"}}
        while not done.is_set():
            query: dict[str, Any] = {"json": QUERY} if call % 2 else picture
            response = service.client.post("/v1/recommend", **query)
            generation, fingerprint = (response.headers[f"clipshelf-{name}"] for name in ("generation", "fingerprint"))
            seen[response.status_code, generation, fingerprint] += 1

    askers = [threading.Thread(target=ask, args=(call,)) for call in range(4)]
    for asker in askers:
        asker.start()
    reembed(other, folder, allow_outside=True)
    assert model_of(service) == tiny_engine.fingerprint
    switch(folder)
    wait_until(lambda: model_of(service) == other.fingerprint)
    # What follows the model: embeddings, the list of models, and changes.
    assert len(service.client.post("/v1/embeddings", json={"input": "red"}).json()["data"][0]["embedding"]) == 6
    assert service.client.get("/v1/models").json()["data"][0]["fingerprint"] == other.fingerprint
    product = {"id": "new", "text": "a warm watch"}
    assert service.client.put("/v1/products", json={"products": [product]}).status_code == 200
    switch_back(folder)
    wait_until(lambda: model_of(service) == tiny_engine.fingerprint)
    assert service.client.get("/v1/products/new").status_code == 200
    done.set()
    for asker in askers:
        asker.join()
    assert {status for status, _, _ in seen} == {200}
    models = {(generation, fingerprint) for _, generation, fingerprint in seen}
    assert {fingerprint for _, fingerprint in models} == {tiny_engine.fingerprint, other.fingerprint}
    assert len({generation for generation, _ in models}) == len(models)  # each generation has one model


def test_a_model_that_cannot_be_opened_leaves_the_old_one_answering(serve: Serve, other: Engine) -> None:
    service = serve(Settings(reload_interval=3600))
    keeper = service.service.keeper
    before = model_of(service)
    reembed(other, keeper.folder, allow_outside=True)
    keeper.refresh()
    assert keeper.current.generation == 1
    switch(keeper.folder)
    shutil.rmtree(other.artifact.path)
    with pytest.raises(ClipshelfError, match="expected the model that embedded the catalogue"):
        keeper.refresh()
    assert model_of(service) == before
