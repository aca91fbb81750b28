"""The HTTP service over a catalogue in shards: the answers of one catalogue, lost shards, and change of generation."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, index
from clipshelf.errors import ClipshelfError, ShardLost
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.edits import add_products, remove_products
from clipshelf.scale.keeper import ShardedKeeper
from clipshelf.scale.shards import LocalShards, Shards
from clipshelf.scale.watched_shards import WatchedShards
from clipshelf.scale.writing import split
from clipshelf.serve.server import image_limits
from clipshelf.serve.settings import Settings
from support.service import COLOURS, RunningService, photo, wait_until

SHARDS = 3


class Losing:
    """Shards some of which do not answer, and that know whether they are closed."""

    def __init__(self, catalogue: ShardedCatalogue) -> None:
        self._shards = LocalShards(catalogue.folder, catalogue.manifest)
        self.lost: set[int] = set()
        self.closed = False

    def call(self, method: Any, arguments: Any) -> dict[int, Any]:
        if self.closed:
            raise ShardLost("closed")
        return self._shards.call(method, {n: a for n, a in arguments.items() if n not in self.lost})

    def close(self) -> None:
        self.closed = True
        self._shards.close()


@pytest.fixture(scope="module")
def engine(tiny_artifact: Path) -> Engine:
    return Engine.load(tiny_artifact, threads=1, limits=image_limits(Settings()))


@pytest.fixture(scope="module")
def catalogue(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Products with columns of every kind, with one, several and no pictures."""
    folder = tmp_path_factory.mktemp("shelf")
    for colour in COLOURS:
        (folder / f"{colour}.jpg").write_bytes(photo(colour))
    lines = []
    for row in range(40):
        product: dict[str, Any] = {"id": f"p/{row}", "text": f"a {COLOURS[row % 3]} thing {row % 7}", "price": row % 9}
        if row % 4:
            product["image"] = f"{COLOURS[row % 3]}.jpg"
        if row % 8 == 1:
            product["image"] = [f"{colour}.jpg" for colour in COLOURS[: 2 + row % 2]]
        if row % 3:
            product["brand"] = f"b{row % 5}"
        product["tags"] = ["a", "b", "c"][: row % 4]
        product["added"] = f"2026-0{1 + row % 9}-01"
        product["size"] = {"eu": row}
        product["stock"] = {"since": f"2026-0{1 + row % 5}-01", "shop": ["berlin", "paris"][row % 4 == 1]}
        product["sold"] = row % 2 == 0
        lines.append(json.dumps(product))
    (folder / "products.jsonl").write_text("\n".join(lines))
    index(engine, folder / "products.jsonl", folder / "one")
    return Catalogue.load(folder / "one")


Start = Callable[..., RunningService]


@pytest.fixture
def start(engine: Engine, catalogue: Catalogue, tmp_path: Path) -> Iterator[Start]:
    """Starts services of the catalogue in shards."""
    services: list[RunningService] = []

    def run(open_shards: Callable[[ShardedCatalogue], Shards] = Losing) -> RunningService:
        folder = tmp_path / f"many-{len(services)}"
        split(catalogue, folder, SHARDS)
        keeper = ShardedKeeper(engine, folder, open_shards)
        services.append(RunningService(engine, folder, Settings(reload_interval=0.05), keeper).start())
        return services[-1]

    yield run
    for service in services:
        service.stop()


def content(response: Any) -> Any:
    """All that a response says, without the times."""
    if response.headers["content-type"] == "image/jpeg":
        return response.content
    body = response.json()
    for answer in [body, *body.get("answers", ())]:
        answer.pop("took_ms", None)
    return body


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/recommend", {"text": "red thing", "k": 30, "explain": True}),
    ("POST", "/v1/recommend", {"liked": ["p/1", "p/7"], "disliked": ["p/3"], "where": "price<6", "explain": True}),
    ("POST", "/v1/recommend", {"text": "blue", "group_by": "brand", "group_members": 2, "boost": {"price": 0.1}}),
    ("POST", "/v1/recommend", {"text": "blue", "boost": {"size.eu": 0.1}, "explain": True}),
    ("POST", "/v1/recommend", {"text": "blue", "fresh": {"stock.since": "30d"}, "now": "2026-06-01", "k": 40}),
    ("POST", "/v1/recommend", {"text": "blue", "group_by": "stock.shop", "group_members": 3, "boost": {"size.eu": -1}}),
    ("POST", "/v1/recommend", {"text": "blue", "boost": {"size.uk": 0.1}}),
    ("POST", "/v1/recommend", {"text": "blue", "group_by": "size"}),
    ("POST", "/v1/recommend", {"text": "blue", "k": 200}),
    ("POST", "/v1/recommend", {"text": "blue", "where": "price>100"}),
    ("POST", "/v1/recommend", {"text": "blue", "where": "nothing=1"}),
    ("POST", "/v1/recommend", {"liked": ["nowhere"]}),
    ("POST", "/v1/recommend/batch", {"queries": [{"text": "red"}, {"liked": ["nowhere"]}, {"liked": ["p/9"]}]}),
    ("POST", "/v1/embeddings", {"input": ["red", "green"]}),
    ("GET", "/v1/products/p%2F9/similar?k=5&explain=true", None),
    ("GET", "/v1/products/nowhere/similar", None),
    ("GET", "/v1/products/p%2F9", None),
    ("GET", "/v1/products/p%2F4", None),
    ("GET", "/v1/products/nowhere", None),
    ("GET", "/v1/products/p%2F9/image", None),
    ("GET", "/v1/products/p%2F9/image?index=1&size=64", None),
    ("GET", "/v1/products/p%2F9/image?index=7", None),
    ("GET", "/v1/products/p%2F4/image", None),
    ("GET", "/v1/products", None),
    ("GET", "/v1/products?limit=1000", None),
    ("GET", "/v1/products?limit=7&where=price<4+and+sold%3Dtrue", None),
    ("GET", "/v1/products?where=price>100", None),
    ("GET", "/v1/products?where=nothing<1", None),
    ("GET", "/v1/catalogue", None),
    ("GET", "/v1/models", None),
    ("GET", "/health/ready", None),
    ("GET", "/health/live", None),
]


def test_every_endpoint_answers_as_one_catalogue_with_all_products(
    engine: Engine, catalogue: Catalogue, start: Start
) -> None:
    many = start()
    one = RunningService(engine, catalogue.root / "one", Settings()).start()
    try:
        for method, path, body in REQUESTS:
            pair = [service.client.request(method, path, json=body) for service in (one, many)]
            assert pair[0].status_code == pair[1].status_code, path
            assert content(pair[0]) == content(pair[1]), path
            for header in ("ETag", "Clipshelf-Fingerprint", "Clipshelf-Generation", "Cache-Control"):
                assert pair[0].headers.get(header) == pair[1].headers.get(header), (path, header)
        headers = {"Content-Type": "image/jpeg"}
        for arguments in ("k=9&explain=true", "boost=size.eu%3D0.5&group_by=stock.shop&explain=true"):
            path = f"/v1/recommend?{arguments}"
            pair = [service.client.post(path, content=photo("green"), headers=headers) for service in (one, many)]
            assert pair[0].status_code == 200 and content(pair[0]) == content(pair[1])
    finally:
        one.stop()
    assert "clipshelf_catalogue_products 40.0" in many.client.get("/metrics").text
    assert "<html" in many.client.get("/").text


def test_products_are_spread_over_what_is_left_after_changes(
    engine: Engine, catalogue: Catalogue, start: Start
) -> None:
    many = start()
    folder = many.service.keeper.folder
    remove_products(folder, [f"p/{row}" for row in range(0, 40, 3)])
    add_products(folder, engine, [{"id": "new", "text": "a red shoe"}])
    many.service.keeper.refresh(force=True)
    body = many.client.get("/v1/products?limit=1000").json()
    expected = [f"p/{row}" for row in range(40) if row % 3] + ["new"]
    assert body["total"] == 27 and [entry["id"] for entry in body["products"]] == expected
    few = many.client.get("/v1/products?limit=4").json()["products"]
    assert [entry["id"] for entry in few] == [expected[i * 27 // 4] for i in range(4)]


def test_a_change_is_refused_with_what_to_use_instead(start: Start) -> None:
    many = start()
    for response in (
        many.client.put("/v1/products", json={"products": [{"id": "x", "text": "x"}]}),
        many.client.delete("/v1/products/p%2F1"),
    ):
        assert response.status_code == 403 and response.json()["type"] == "/problems/read-only"
        assert "`clipshelf scale add`" in response.json()["detail"]
    assert many.client.get("/v1/catalogue").json()["writable"] is False


def test_a_partial_answer_says_so(start: Start) -> None:
    opened: list[Losing] = []
    many = start(lambda catalogue: opened.append(Losing(catalogue)) or opened[-1])  # type: ignore[func-returns-value]
    whole = many.client.post("/v1/recommend", json={"text": "red", "k": 40})
    assert "missing_shards" not in whole.json() and "Clipshelf-Missing-Shards" not in whole.headers
    opened[0].lost = {1}
    partial = many.client.post("/v1/recommend", json={"text": "red", "k": 40})
    assert partial.status_code == 200 and partial.json()["missing_shards"] == [1]
    assert partial.headers["Clipshelf-Missing-Shards"] == "1"
    ids = [item["id"] for item in whole.json()["recommendations"]]
    left = [id_ for id_, shard in zip(ids, shards_of(ids, SHARDS), strict=True) if shard != 1]
    assert {item["id"] for item in partial.json()["recommendations"]} == set(left) and len(left) < 40
    lost = next(id_ for id_ in ids if id_ not in left)
    batch = many.client.post("/v1/recommend/batch", json={"queries": [{"text": "red"}, {"liked": [lost]}]})
    assert batch.headers["Clipshelf-Missing-Shards"] == "1"
    assert batch.json()["answers"][0]["missing_shards"] == [1]
    assert batch.json()["answers"][1]["error"]["type"] == "/problems/shard-lost"
    for path in (f"/v1/products/{lost.replace('/', '%2F')}", "/v1/catalogue", "/v1/products"):
        response = many.client.get(path)
        assert response.status_code == 503 and response.json()["type"] == "/problems/shard-lost"
        assert response.headers["Retry-After"]
    assert "clipshelf_partial_answers_total 2.0" in many.client.get("/metrics").text


def test_a_new_generation_is_taken_up_under_load_without_a_failed_or_mixed_answer(engine: Engine, start: Start) -> None:
    opened: list[Losing] = []
    many = start(lambda catalogue: opened.append(Losing(catalogue)) or opened[-1])  # type: ignore[func-returns-value]
    stop = threading.Event()
    seen: list[tuple[int, int, frozenset[str]]] = []

    def ask() -> None:
        while not stop.is_set():
            response = many.client.post("/v1/recommend", json={"text": "red", "k": 60})
            ids = frozenset(item["id"] for item in response.json().get("recommendations", ()))
            seen.append((response.status_code, int(response.headers["Clipshelf-Generation"]), ids))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    folder = many.service.keeper.folder
    expected = {1: frozenset(f"p/{row}" for row in range(40))}
    for generation in (2, 3):
        add_products(folder, engine, [{"id": f"new {generation}", "text": "a red shoe"}])
        expected[generation] = expected[generation - 1] | {f"new {generation}"}
        wait_until(lambda generation=generation: any(number == generation for _, number, _ in seen))  # type: ignore[misc]
    stop.set()
    for asker in askers:
        asker.join()
    assert {status for status, _, _ in seen} == {200}
    assert {number for _, number, _ in seen} == {1, 2, 3}
    assert all(ids == expected[number] for _, number, ids in seen)
    wait_until(lambda: [shards.closed for shards in opened] == [True, True, False])


def test_a_batch_names_the_generation_of_its_answers_if_it_changes_while_the_body_comes(
    engine: Engine, start: Start
) -> None:
    many = start()
    keeper = many.service.keeper

    def body() -> Iterator[bytes]:
        yield b'{"queries": [{"text": "red", "k": 60}'
        wait_until(lambda: b"requests_in_progress 1.0" in many.service.metrics.text())
        add_products(keeper.folder, engine, [{"id": "new", "text": "a red shoe"}])
        wait_until(lambda: keeper.current.generation == 2)
        yield b"]}"

    headers = {"Content-Type": "application/json"}
    response = many.client.post("/v1/recommend/batch", content=body(), headers=headers)
    (answer,) = response.json()["answers"]
    assert "new" in [item["id"] for item in answer["recommendations"]]
    assert response.headers["Clipshelf-Generation"] == "2"


def test_an_old_generation_ends_with_its_last_query(engine: Engine, catalogue: Catalogue, tmp_path: Path) -> None:
    opened: list[Losing] = []
    split(catalogue, tmp_path / "many", SHARDS)
    keeper = ShardedKeeper(engine, tmp_path / "many", lambda c: opened.append(Losing(c)) or opened[-1])  # type: ignore[func-returns-value]
    with keeper.use() as shelf:
        remove_products(tmp_path / "many", ["p/1"])
        refreshing = threading.Thread(target=keeper.refresh)
        refreshing.start()
        wait_until(lambda: keeper.current.generation == 2)
        assert shelf.generation == 1 and shelf.find("p/1") is not None and not opened[0].closed
        with keeper.use() as new:
            assert new.find("p/1") is None
    refreshing.join()
    assert opened[0].closed and not opened[1].closed
    keeper.close()
    assert opened[1].closed


def test_a_generation_that_cannot_be_opened_leaves_the_old_one(
    engine: Engine, catalogue: Catalogue, tmp_path: Path
) -> None:
    split(catalogue, tmp_path / "many", SHARDS)
    lose = set[int]()

    def open_shards(opened: ShardedCatalogue) -> Shards:
        shards = Losing(opened)
        shards.lost = set(lose)
        return shards

    keeper = ShardedKeeper(engine, tmp_path / "many", open_shards)
    lose.add(2)
    remove_products(tmp_path / "many", ["p/1"])
    with pytest.raises(ClipshelfError, match="expected an answer of each shard"):
        keeper.refresh()
    assert keeper.current.generation == 1 and keeper.current.find("p/1") is not None
    lose.clear()
    keeper.refresh()
    assert keeper.current.generation == 2


def test_a_shard_that_restarts_after_the_next_generation_was_published_opens_its_own(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    old = split(catalogue, tmp_path / "many", SHARDS)
    remove_products(tmp_path / "many", ["p/1"])
    shards = LocalShards(old.folder, old.manifest)
    shard = int(shards_of(["p/1"], SHARDS)[0])
    assert shards.call("find", {shard: (["p/1"],)})[shard].rows.tolist() != [-1]


class Recorded:
    """Shards that are called through an object that knows which; it closes nothing."""

    def __init__(self, shards: Losing) -> None:
        self._shards = shards
        self.called: list[set[int]] = []
        self.closed = False

    def call(self, method: Any, arguments: Any) -> dict[int, Any]:
        self.called.append(set(arguments))
        return self._shards.call(method, arguments)

    def close(self) -> None:
        self._shards.close()


NO_ROWS = np.empty(0, np.int64)


def test_a_lost_shard_makes_one_query_wait_and_comes_back(catalogue: Catalogue, tmp_path: Path) -> None:
    inner = Losing(split(catalogue, tmp_path / "many", SHARDS))
    shards = WatchedShards(recorded := Recorded(inner), interval=0.02)
    everywhere = dict.fromkeys(range(SHARDS), (NO_ROWS,))
    assert set(shards.call("records", everywhere)) == {0, 1, 2} and shards.lost == frozenset()
    inner.lost = {1}
    assert set(shards.call("records", everywhere)) == {0, 2} and shards.lost == {1}
    recorded.called.clear()
    assert set(shards.call("records", everywhere)) == {0, 2}
    assert {0, 2} in recorded.called and {0, 1, 2} not in recorded.called
    assert shards.call("records", {1: (NO_ROWS,)}) == {}
    inner.lost = set()
    wait_until(lambda: shards.lost == frozenset())
    assert set(shards.call("records", everywhere)) == {0, 1, 2}
    shards.close()


def test_lost_shards_come_back_one_by_one(catalogue: Catalogue, tmp_path: Path) -> None:
    inner = Losing(split(catalogue, tmp_path / "many", SHARDS))
    release = threading.Event()

    class Hanging(Recorded):
        """A call of shard 2 alone, which a probe makes, takes until `release`."""

        def call(self, method: Any, arguments: Any) -> dict[int, Any]:
            if set(arguments) == {2}:
                release.wait(20)
            return super().call(method, arguments)

    shards = WatchedShards(recorded := Hanging(inner), interval=0.02)
    inner.lost = {1, 2}
    assert set(shards.call("records", dict.fromkeys(range(SHARDS), (NO_ROWS,)))) == {0}
    for _ in range(3):  # a shard that is lost again and again is probed by one thread at a time
        inner.lost = {2}
        wait_until(lambda: shards.lost == {2})
        inner.lost = {1, 2}
        assert shards.call("records", {1: (NO_ROWS,)}) == {} and shards.lost == {1, 2}
    release.set()
    inner.lost = set()
    wait_until(lambda: shards.lost == frozenset())
    calls = len(recorded.called)
    time.sleep(0.1)
    assert len(recorded.called) == calls
    shards.close()


def test_a_shard_that_takes_long_to_read_a_column_is_not_lost(catalogue: Catalogue, tmp_path: Path) -> None:
    inner = Losing(split(catalogue, tmp_path / "many", SHARDS))
    shards = WatchedShards(inner)
    inner.lost = {1}
    assert set(shards.call("count_values", dict.fromkeys(range(SHARDS), ("price",)))) == {0, 2}
    assert set(shards.call("evidence", {1: ("size.eu",)})) == set() == shards.lost
    shards.close()


def test_a_dotted_name_that_no_product_has_is_looked_up_once(engine: Engine, start: Start) -> None:
    recorded: list[Recorded] = []

    def open_shards(opened: ShardedCatalogue) -> Shards:
        recorded.append(Recorded(Losing(opened)))
        return recorded[0]

    many = start(open_shards)
    before = len(recorded[0].called)
    answers = [many.client.get("/v1/products?where=size.nothing>1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert "size.nothing" in answers[0].json()["detail"] == answers[1].json()["detail"]
    assert len(recorded[0].called) == before + 1


def test_a_keeper_that_is_closed_while_a_generation_opens_leaves_none_open(
    engine: Engine, catalogue: Catalogue, tmp_path: Path
) -> None:
    split(catalogue, tmp_path / "many", SHARDS)
    opening, go_on = threading.Event(), threading.Event()
    opened: list[Losing] = []

    def open_shards(new: ShardedCatalogue) -> Shards:
        if opened:
            opening.set()
            go_on.wait(20)
        opened.append(Losing(new))
        return opened[-1]

    keeper = ShardedKeeper(engine, tmp_path / "many", open_shards)
    remove_products(tmp_path / "many", ["p/1"])
    refreshing = threading.Thread(target=keeper.refresh)
    refreshing.start()
    opening.wait(20)
    keeper.close()
    assert opened[0].closed
    go_on.set()
    refreshing.join(20)
    assert [shards.closed for shards in opened] == [True, True] and keeper.current.generation == 1
    remove_products(tmp_path / "many", ["p/2"])
    keeper.refresh(force=True)
    assert len(opened) == 2


def test_a_generation_that_is_used_outlives_any_number_of_publications(
    engine: Engine, catalogue: Catalogue, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    split(catalogue, folder, SHARDS)
    fail = False

    def open_shards(new: ShardedCatalogue) -> Shards:
        if fail:
            raise ClipshelfError("a cluster without room")
        return LocalShards(new.folder, new.manifest)

    keeper = ShardedKeeper(engine, folder, open_shards, root=catalogue.root)
    fail = True
    for row in range(4):
        remove_products(folder, [f"p/{row}"])
        with pytest.raises(ClipshelfError, match="without room"):
            keeper.refresh()
    record = keeper.current.find("p/1")
    assert record is not None and keeper.current.generation == 1
    picture = keeper.current.picture(record, 0)  # opens the shard's folder for the first time
    assert picture is not None and picture.exists()
    first = ShardedCatalogue(folder).manifest.generation
    assert {path.name for path in folder.glob("pooled.*")} == {"pooled.1", f"pooled.{first - 1}", f"pooled.{first}"}
    fail = False
    keeper.refresh()
    remove_products(folder, ["p/9"])
    assert not (folder / "pooled.1").exists() and not list(folder.glob("shard-*.1"))
    keeper.close()
