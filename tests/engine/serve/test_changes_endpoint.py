"""PUT and DELETE of products: durable, atomic, taken up by readers, and closed unless asked."""

from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clipshelf import Catalogue
from clipshelf.catalogue.indexing import change
from clipshelf.files import locked
from clipshelf.serve.giving_up import GivenUpError, Pending
from clipshelf.serve.settings import Settings
from clipshelf.serve.waiting import within
from starlette.requests import Request
from starlette.types import Message
from support.service import RunningService, Serve, photo, wait_until


def image(colour: str) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(photo(colour)).decode()}"


@pytest.fixture
def writable(serve: Serve) -> RunningService:
    # Eight changes in turn take seconds on a busy machine.
    return serve(Settings(writable=True, reload_interval=0.05, deadline=60))


def put(service: RunningService, *products: dict[str, Any], **options: str) -> Any:
    return service.client.put("/v1/products", json={"products": list(products), **options})


def test_products_are_added_changed_and_removed_on_disk(writable: RunningService) -> None:
    answer = put(
        writable, {"id": "lamp", "text": "a blue lamp", "image": image("blue")}, {"id": "red-shoe", "price": 1.5}
    ).json()
    assert answer == {"generation": 2, "products": 10, "added": 1, "updated": 1, "removed": 0, "failed": []}
    stored = Catalogue.load(writable.service.keeper.folder, allow_outside=True)
    lamp, shoe = stored.records(stored.rows(["lamp", "red-shoe"]))
    assert shoe["price"] == 1.5 and shoe["text"] == "a red shoe"
    path = stored.picture(lamp)
    assert path is not None and path.read_bytes() == photo("blue")
    assert writable.client.get("/v1/products/lamp/image").headers["content-type"] == "image/jpeg"
    found = writable.client.post("/v1/recommend", json={"text": "lamp", "where": "price<2", "k": 3})
    assert [item["id"] for item in found.json()["recommendations"]] == ["red-shoe"]
    removed = writable.client.delete("/v1/products/lamp")
    assert removed.json()["removed"] == 1 and removed.headers["clipshelf-generation"] == "3"
    assert "lamp" not in Catalogue.load(writable.service.keeper.folder).ids
    assert writable.client.delete("/v1/products/lamp").status_code == 404


def test_one_bad_product_refuses_all_or_is_left_out(writable: RunningService) -> None:
    products = {"id": "good", "text": "a red lamp"}, {"id": "bad"}, {"id": "red-shoe", "text": None, "image": None}
    refused = put(writable, *products)
    assert refused.status_code == 422 and refused.json()["type"] == "/problems/bad-product"
    assert writable.service.keeper.current.generation == 1
    answer = put(writable, *products, on_error="skip").json()
    assert (answer["generation"], answer["added"], answer["updated"]) == (2, 1, 0)
    assert [(failure["index"], failure["id"]) for failure in answer["failed"]] == [(1, "bad"), (2, "red-shoe")]
    nothing = put(writable, products[1], on_error="skip")
    assert nothing.status_code == 422 and writable.service.keeper.current.generation == 2


@pytest.mark.parametrize("name", ["image", "Image", " image ", "\ufeffimage", "IMAGE"])
def test_a_path_of_the_server_is_no_picture(writable: RunningService, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(photo("green"))
    for value in (str(secret), {"path": str(secret)}, f"file://{secret}"):
        response = put(writable, {"id": "x", "text": "a lamp", name: value})
        assert response.status_code == 422, response.text
    assert writable.client.get("/v1/products/x").status_code == 404


def test_a_service_is_read_only_unless_asked(running: RunningService) -> None:
    assert put(running, {"id": "x", "text": "y"}).json()["type"] == "/problems/read-only"
    assert running.client.delete("/v1/products/red-shoe").status_code == 403


def test_a_generation_of_another_process_is_taken_up(serve: Serve) -> None:
    service = serve(Settings(reload_interval=0.05))
    change(service.service.keeper.folder, lambda catalogue: catalogue.remove(["red-shoe"]), allow_shrink=1)
    wait_until(lambda: service.client.get("/v1/products/red-shoe").status_code == 404)
    assert service.client.get("/v1/products/red-shoe").headers["clipshelf-generation"] == "2"
    assert "clipshelf_catalogue_generation 2.0" in service.client.get("/metrics").text


def test_a_generation_that_cannot_be_opened_leaves_the_current_one(serve: Serve) -> None:
    service = serve(Settings(reload_interval=0.05))
    (service.service.keeper.folder / "manifest.json").write_text("{")
    wait_until(lambda: "clipshelf_catalogue_reload_failures_total 0.0" not in service.client.get("/metrics").text)
    assert service.client.post("/v1/recommend", json={"text": "red shoe"}).status_code == 200


def test_readers_see_whole_generations_while_a_writer_works(writable: RunningService) -> None:
    """Both products of a pair get the same price in one change, so no answer may show two prices."""
    query = {"text": "red shoe", "where": "id in (red-shoe, red-shirt)"}
    done = threading.Event()
    torn: list[Any] = []
    answers = 0

    def read() -> None:
        nonlocal answers
        while not done.is_set():
            response = writable.client.post("/v1/recommend", json=query)
            prices = {item["product"]["price"] for item in response.json()["recommendations"]}
            answers += 1
            if len(prices) != 1 and response.headers["clipshelf-generation"] != "1":
                torn.append((response.headers["clipshelf-generation"], prices))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for round_ in range(12):
        price = 100.0 + round_
        answer = put(writable, {"id": "red-shoe", "price": price}, {"id": "red-shirt", "price": price})
        assert answer.json()["generation"] == round_ + 2
    done.set()
    for reader in readers:
        reader.join()
    assert not torn and answers > 12


def test_writers_take_turns(writable: RunningService) -> None:
    statuses: list[int] = []

    def write(name: str) -> None:
        statuses.append(put(writable, {"id": name, "text": f"a {name} lamp"}).status_code)

    writers = [threading.Thread(target=write, args=(f"lamp-{number}",)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert statuses == [200] * 8
    assert len(Catalogue.load(writable.service.keeper.folder)) == 17


def test_a_change_that_cannot_begin_before_its_deadline_is_given_up_as_a_whole(serve: Serve) -> None:
    service = serve(Settings(writable=True, deadline=0.3))
    folder = service.service.keeper.folder
    with locked(folder):  # as another writer does
        late = put(service, {"id": "late", "text": "a late lamp"})
        removed = service.client.delete("/v1/products/red-shoe")
    assert {response.status_code for response in (late, removed)} == {504}
    assert late.json()["type"] == "/problems/deadline"
    service.service.changes.submit(int).result()  # the changes before it have ended
    stored = Catalogue.load(folder)
    assert "red-shoe" in stored.ids and "late" not in stored.ids
    assert service.service.keeper.current.generation == 1
    assert service.client.get("/v1/products/late").status_code == 404


def test_a_change_whose_client_has_gone_is_not_made(writable: RunningService) -> None:
    with locked(writable.service.keeper.folder):
        with pytest.raises(httpx2.TimeoutException):
            writable.client.put("/v1/products", json={"products": [{"id": "x", "text": "a lamp"}]}, timeout=0.3)
        wait_until(lambda: "clipshelf_requests_in_progress 1.0" in writable.client.get("/metrics").text)
    writable.service.changes.submit(int).result()
    assert writable.service.keeper.current.generation == 1


def test_a_change_that_is_being_saved_is_waited_for() -> None:
    pending = Pending()
    pending.begin_to_save()
    assert not pending.give_up()
    pending.check()

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def save() -> str:
        await asyncio.sleep(0.05)
        return "saved"

    request = Request({"type": "http"}, never)
    assert asyncio.run(within(request, save(), 0.001, pending.give_up)) == "saved"


def test_a_change_that_was_given_up_is_never_saved() -> None:
    pending = Pending()
    assert pending.give_up()
    for step in (pending.check, pending.begin_to_save):
        with pytest.raises(GivenUpError):
            step()
    assert pending.give_up()


def test_products_with_several_pictures(writable: RunningService) -> None:
    lamp = {"id": "lamp", "text": ["a blue lamp", "for the desk"], "image": [image("red"), image("blue")]}
    assert put(writable, lamp).json()["added"] == 1
    stored = Catalogue.load(writable.service.keeper.folder, allow_outside=True)
    (record,) = stored.records(stored.rows(["lamp"]))
    paths = [stored.picture(record, i) for i in (0, 1)]
    assert [path and path.read_bytes() for path in paths] == [photo("red"), photo("blue")]
    query = {"image": image("blue"), "where": "id=lamp", "explain": True}
    (item,) = writable.client.post("/v1/recommend", json=query).json()["recommendations"]
    assert item["picture"] == 1 and item["image_url"].endswith("&index=1")
    parts = [part for each in item["contributions"] if each["side"] == "image" for part in each["parts"]]
    assert [part["index"] for part in parts] == [0, 1] and not any(part["path"].startswith("/") for part in parts)
    pictures = [writable.client.get("/v1/products/lamp/image", params={"index": i}).content for i in (0, 1)]
    assert pictures[0] != pictures[1] and writable.client.get(item["image_url"]).content == pictures[1]
    assert writable.client.get("/v1/products/lamp/image", params={"index": 2}).status_code == 404
    refused = put(writable, {"id": "bad", "image": [image("red"), "data:image/png;base64,AAAA"]})
    assert refused.status_code == 422 and "bad" not in Catalogue.load(writable.service.keeper.folder).ids
