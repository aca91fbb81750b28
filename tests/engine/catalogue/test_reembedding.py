from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Failure, ProductFields, Recommender, index
from clipshelf.catalogue.disk.manifest import read_manifest, read_part
from clipshelf.catalogue.disk.part_files import PART_ROLES, part_arrays
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.indexing import change
from clipshelf.catalogue.reembedding import discard, reembed, switch, switch_back
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.errors import CatalogueError, InputError
from clipshelf.files import locked
from clipshelf.types import Product
from PIL import Image
from support import tiny
from support.embed_counter import EmbedCounter

CARRIED = ("ids", "products", "offsets", "columns", "column-offsets", "words-keys", "words-rows")
CURVE = RelevanceCurve(0.5, 0.25, 40)
SEVERAL: list[Product] = [
    {"id": "one", "text": "red", "image": "red.png"},
    {"id": "three", "image": ["red.png", "green.png", "blue.png"], "text": ["shoe", "warm shirt"]},
    {"id": "plain", "text": ["warm shirt"]},
    {"id": "two", "image": ["blue.png", "red.png", "blue.png"]},
    {"id": "last", "text": ["red", "shoe", "watch"], "image": ["green.png"]},
]


@pytest.fixture(scope="session")
def new_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Another model: other rows of words, and another width."""
    return Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("models") / "new", dim=6, seed=1), threads=1)


@pytest.fixture
def shelf(engine: Engine, shop: Path, tmp_path: Path) -> Path:
    """The catalogue of a small shop, with words, that the old model embedded."""
    index(engine, shop, tmp_path / "shelf", fields=ProductFields(words=["text", "code"]))
    return tmp_path / "shelf"


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """A file of products with several pictures and texts."""
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    (tmp_path / "several.jsonl").write_text("\n".join(map(json.dumps, SEVERAL)))
    return tmp_path / "several.jsonl"


def assert_same_embeddings(prepared: Catalogue, fresh: Catalogue) -> None:
    """Byte for byte: the matrix, the keys, and the parts."""
    assert prepared.embeddings.tobytes() == fresh.embeddings.tobytes()
    assert np.asarray(prepared.contents.keys).tobytes() == np.asarray(fresh.contents.keys).tobytes()
    assert prepared.contents.parts.falloff == fresh.contents.parts.falloff
    for (role, array), (_, other) in zip(
        part_arrays(prepared.contents.parts), part_arrays(fresh.contents.parts), strict=True
    ):
        assert (array.dtype, array.shape, array.tobytes()) == (other.dtype, other.shape, other.tobytes()), role


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_prepared_generation_has_the_same_products_by_the_other_model(
    new_engine: Engine, shop: Path, shelf: Path
) -> None:
    before = read_manifest(shelf)
    prepared = reembed(new_engine, shelf)
    fresh = Catalogue.build(new_engine, shop)
    np.testing.assert_array_equal(prepared.embeddings, fresh.embeddings)
    np.testing.assert_array_equal(np.asarray(prepared.contents.keys), fresh.contents.keys)
    assert list(prepared.products) == list(Catalogue.load(shelf).products)
    assert prepared.statistics.is_close(fresh.statistics)
    manifest = read_manifest(shelf)
    assert manifest == before and manifest.prepared is not None
    for role in CARRIED:
        assert manifest.prepared.name(role) == before.name(role)
    assert manifest.prepared.declarations == before.declarations
    assert find_problems(shelf) == []
    assert not any(name.startswith("reembed-") for name in names(shelf))


def test_the_switch_and_the_way_back_bring_each_model_with_its_generation(
    engine: Engine, new_engine: Engine, shelf: Path
) -> None:
    change(shelf, lambda catalogue: catalogue.with_relevance_curve(CURVE))
    old = Catalogue.load(shelf)
    before = np.array(old.embeddings)
    notes: list[str] = []
    prepared = reembed(new_engine, shelf, on_warning=notes.append)
    assert "clipshelf calibrate" in notes[0]
    switched = switch(shelf)
    assert switched.fingerprint == new_engine.fingerprint and switched.relevance_curve is None
    assert switched.model_path() == str(new_engine.artifact.path.resolve())
    np.testing.assert_array_equal(switched.embeddings, prepared.embeddings)
    back = switch_back(shelf)
    assert back.fingerprint == engine.fingerprint and back.relevance_curve == CURVE
    assert back.model_path() == str(engine.artifact.path.resolve())
    np.testing.assert_array_equal(back.embeddings, before)
    assert find_problems(shelf) == []
    # What was open all the time still answers.
    assert Recommender(engine, old).recommend(text="red shoe", k=1)[0].id == "r"
    assert switch_back(shelf).fingerprint == new_engine.fingerprint


@pytest.mark.parametrize("chunk", [1, 2, 4096])
def test_several_pictures_and_texts_are_embedded_as_index_embeds_them(
    engine: Engine, new_engine: Engine, several: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("clipshelf.catalogue.reembedded._CHUNK", chunk)
    tmp_path = several.parent
    fields = ProductFields(falloff=0.4, words=["text"])
    index(engine, several, tmp_path / "shelf", fields=fields)
    fresh = index(new_engine, several, tmp_path / "fresh", fields=fields)
    counter = EmbedCounter(new_engine, monkeypatch)
    prepared = reembed(new_engine, tmp_path / "shelf")
    assert len(fresh.contents.parts) == 4
    assert_same_embeddings(prepared, fresh)
    assert sorted(counter.texts) == ["red", "shoe", "warm shirt", "watch"] and len(counter.images) == 3
    before, after = read_manifest(tmp_path / "shelf"), read_part(tmp_path / "shelf", "prepared")
    for role in CARRIED:
        assert after.name(role) == before.name(role)
    for role in PART_ROLES:
        content = (tmp_path / "shelf" / after.name(role)).read_bytes()
        assert content == (tmp_path / "fresh" / read_manifest(tmp_path / "fresh").name(role)).read_bytes()
    assert list(prepared.products) == SEVERAL and find_problems(tmp_path / "shelf") == []
    switched = switch(tmp_path / "shelf")
    [answer] = Recommender(new_engine, switched).recommend(text="warm shirt", k=1)
    assert answer.id == "plain" and switched.contents.parts.falloff == 0.4
    assert_same_embeddings(switch_back(tmp_path / "shelf"), Catalogue.build(engine, several, fields=fields))


def test_a_picture_of_several_that_is_gone_leaves_the_others(
    engine: Engine, new_engine: Engine, several: Path, tmp_path: Path
) -> None:
    index(engine, several, tmp_path / "shelf")
    (tmp_path / "green.png").unlink()
    with pytest.raises(InputError, match=r"product 'three': image 2: expected the file .*green.png, found .* 1 more p"):
        reembed(new_engine, tmp_path / "shelf")
    failures: list[Failure] = []
    with pytest.raises(CatalogueError, match="that 1 would be gone"):
        reembed(new_engine, tmp_path / "shelf", on_error=failures.append)
    assert not failures
    prepared = reembed(new_engine, tmp_path / "shelf", on_error=failures.append, allow_shrink=1)
    assert [(failure.index, failure.source, failure.part) for failure in failures] == [
        (1, "three", "image 2"),
        (4, "last", None),
    ]
    fresh = Catalogue.build(new_engine, several, on_error=failures.append)
    assert_same_embeddings(prepared, fresh)
    assert list(prepared.products) == list(fresh.products) and prepared.products[1]["image"] == ["red.png", "blue.png"]
    assert find_problems(tmp_path / "shelf") == []
    notes: list[str] = []
    kept = reembed(new_engine, tmp_path / "shelf", keep_text=True, allow_shrink=1, on_warning=notes.append)
    assert "left out 2 that cannot be read" in notes[0]
    assert kept.products[4] == {"id": "last", "text": ["red", "shoe", "watch"]}
    assert kept.contents.parts.counts(kept.present).tolist() == [[1, 1], [2, 2], [0, 1], [3, 0], [0, 3]]


def test_pictures_that_are_gone_are_known_by_what_is_prepared(
    engine: Engine, new_engine: Engine, several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(engine, several, tmp_path / "shelf")
    fresh = Catalogue.build(new_engine, several)
    reembed(new_engine, tmp_path / "shelf")
    for colour in tiny.COLOURS:
        (tmp_path / f"{colour}.png").unlink()
    change(tmp_path / "shelf", lambda c: c.update(engine, [{"id": "two", "price": 3}]))
    counter = EmbedCounter(new_engine, monkeypatch)
    prepared = reembed(new_engine, tmp_path / "shelf")
    assert_same_embeddings(prepared, fresh)
    assert not counter.texts and not counter.images
    assert prepared.products[3] == SEVERAL[3] | {"price": 3}


def test_pictures_from_memory_count_each(
    engine: Engine, new_engine: Engine, several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = several.parent
    monkeypatch.chdir(tmp_path)
    data = (tmp_path / "red.png").read_bytes()
    products: list[Product] = [
        {"id": "a", "image": [data, "blue.png"]},
        {"id": "b", "image": [data, data], "text": "red"},
    ]
    index(engine, products, tmp_path / "shelf")
    with pytest.raises(InputError, match=r"product 'a': image 1: expected the image that was indexed, to embed it"):
        reembed(new_engine, tmp_path / "shelf")
    with pytest.raises(CatalogueError, match="4 pictures to go, found that 3 would be gone"):
        reembed(new_engine, tmp_path / "shelf", keep_text=True)
    prepared = reembed(new_engine, tmp_path / "shelf", keep_text=True, allow_shrink=1)
    assert list(prepared.products) == [{"id": "a", "image": ["blue.png"]}, {"id": "b", "text": "red"}]
    assert prepared.present.tolist() == [[True, False], [False, True]] and not len(prepared.contents.parts)
    assert find_problems(tmp_path / "shelf") == []


def test_a_switch_removes_what_a_killed_process_has_left_of_its_model(new_engine: Engine, shelf: Path) -> None:
    reembed(new_engine, shelf)
    of_another_model = shelf / "reembed-journal.abcdef"
    of_another_model.touch()
    for kind in ("journal", "matrix"):
        (shelf / f"reembed-{kind}.{new_engine.fingerprint}").touch()
    switch(shelf)
    assert {name for name in names(shelf) if name.startswith("reembed-")} == {of_another_model.name}


def test_each_text_and_picture_is_embedded_once(
    new_engine: Engine, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipshelf.catalogue.reembedded._CHUNK", 2)
    counter = EmbedCounter(new_engine, monkeypatch)
    engine = Engine.load(Catalogue.load(shelf).model_path())
    change(shelf, lambda c: c.add(engine, [{"id": f"again-{i}", "text": "green"} for i in range(5)]))
    prepared = reembed(new_engine, shelf)
    assert sorted(counter.texts) == ["a red shoe", "blue", "green"] and len(counter.images) == 2
    np.testing.assert_array_equal(prepared.text_embeds[1], prepared.text_embeds[7])
    reembed(new_engine, shelf)
    assert len(counter.texts) == 3 and len(counter.images) == 2


def test_an_interrupted_run_goes_on_where_it_stopped(
    new_engine: Engine, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipshelf.catalogue.reembedded._CHUNK", 1)
    counter = EmbedCounter(new_engine, monkeypatch)

    def stop(done: int, total: int | None) -> None:
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reembed(new_engine, shelf, progress=stop)
    assert read_manifest(shelf).prepared is None and any(name.startswith("reembed-journal.") for name in names(shelf))
    done = len(counter.texts)
    reembed(new_engine, shelf)
    assert done == 2 and sorted(counter.texts) == ["a red shoe", "blue", "green"] and len(counter.images) == 2


def test_products_that_are_edited_meanwhile_are_embedded_in_the_end(
    engine: Engine, new_engine: Engine, shelf: Path
) -> None:
    edits = iter([lambda c: c.add(engine, [{"id": "new", "text": "warm watch"}])])

    def edit(done: int, total: int | None) -> None:
        for each in edits:
            change(shelf, each)

    prepared = reembed(new_engine, shelf, progress=edit)
    assert prepared.ids == ["r", "g", "b", "new"]
    np.testing.assert_array_equal(prepared.text_embeds[3], new_engine.embed_texts(["warm watch"])[0])
    assert switch(shelf).ids == prepared.ids


def test_an_edit_after_the_preparation_stops_the_switch_until_it_is_embedded(
    engine: Engine, new_engine: Engine, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reembed(new_engine, shelf)
    change(shelf, lambda c: c.update(engine, [{"id": "b", "text": "blue watch", "price": 3}]))
    with pytest.raises(CatalogueError, match=r"with the products of generation 3, found one with those of 1"):
        switch(shelf)
    counter = EmbedCounter(new_engine, monkeypatch)
    reembed(new_engine, shelf)
    assert counter.texts == ["blue watch"] and counter.images == []
    assert switch(shelf).products[2]["price"] == 3


def test_the_way_back_keeps_what_was_edited_since_the_switch(
    engine: Engine, new_engine: Engine, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = np.array(Catalogue.load(shelf).embeddings)
    reembed(new_engine, shelf)
    switch(shelf)
    change(shelf, lambda c: c.remove(["g"]).add(new_engine, [{"id": "new", "text": "warm shirt"}]), allow_shrink=1)
    counter = EmbedCounter(engine, monkeypatch)
    back = switch_back(shelf, open_engine=lambda path: engine)
    assert back.ids == ["r", "b", "new"] and back.fingerprint == engine.fingerprint
    np.testing.assert_array_equal(back.embeddings[:2], old[[0, 2]])
    assert counter.texts == ["warm shirt"] and counter.images == []


def test_a_picture_that_is_gone_stops_it_before_anything_is_embedded(
    new_engine: Engine, shop: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.parent / "red.png").unlink()
    (shop.parent / "green.png").unlink()
    counter = EmbedCounter(new_engine, monkeypatch)
    with pytest.raises(InputError, match=r"product 'r': expected the file .*red.png, found none; 1 more prod"):
        reembed(new_engine, shelf)
    failures: list[Failure] = []
    with pytest.raises(CatalogueError, match="that 2 would be gone"):
        reembed(new_engine, shelf, on_error=failures.append)
    assert not counter.texts and not failures
    prepared = reembed(new_engine, shelf, on_error=failures.append, allow_shrink=1)
    assert prepared.ids == ["b"] and [failure.source for failure in failures] == ["r", "g"]
    failures.clear()
    prepared = reembed(new_engine, shelf, on_error=failures.append, keep_text=True, allow_shrink=1)
    assert prepared.ids == ["r", "g", "b"] and "image" not in prepared.products[0]
    assert prepared.present.tolist() == [[False, True]] * 3
    assert [(failure.source, failure.part) for failure in failures] == [("r", "image"), ("g", "image")]
    assert find_problems(shelf) == []


def test_a_picture_from_memory_cannot_be_embedded_again(engine: Engine, new_engine: Engine, tmp_path: Path) -> None:
    products: list[dict[str, Any]] = [{"id": "a", "text": "red", "image": tiny.picture("red")}]
    index(engine, products, tmp_path)
    with pytest.raises(InputError, match="expected the image that was indexed, to embed it again"):
        reembed(new_engine, tmp_path)
    # The old model knows it by its key, so that the way back loses nothing.
    reembed(new_engine, tmp_path, keep_text=True, allow_shrink=1)
    assert switch(tmp_path).present.tolist() == [[False, True]]
    assert switch_back(tmp_path).present.tolist() == [[True, True]]


def test_pictures_are_found_after_a_move(new_engine: Engine, shop: Path, shelf: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("shelf", "red.png", "green.png"):
        (shop.parent / name).rename(moved / name)
    assert reembed(new_engine, moved / "shelf").present.tolist() == [[True, True], [True, True], [False, True]]


def test_misuse_says_what_to_do(engine: Engine, new_engine: Engine, shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="found the same one"):
        reembed(engine, shelf)
    with pytest.raises(CatalogueError, match="expected a prepared generation, found none; clipshelf reembed prepares"):
        switch(shelf)
    with pytest.raises(CatalogueError, match="expected a previous generation, found none"):
        switch_back(shelf)
    with locked(shelf, name=".reembed-lock"), pytest.raises(CatalogueError, match="expected no other writer"):
        reembed(new_engine, shelf)
    with pytest.raises(CatalogueError, match="part: expected one of current, prepared, previous"):
        Catalogue.load(shelf, part="next")  # type: ignore[arg-type]


def test_a_model_that_is_gone_stops_the_switch(shelf: Path, tmp_path: Path) -> None:
    path = tiny.write_artifact(tmp_path / "going", dim=6, seed=1)
    reembed(Engine.load(path, threads=1), shelf)
    path.rename(tmp_path / "gone")
    with pytest.raises(CatalogueError, match="expected the model of generation 2, found"):
        switch(shelf)
    assert read_manifest(shelf).generation == 1


def test_discarding_leaves_the_current_generation_alone(new_engine: Engine, shelf: Path) -> None:
    reembed(new_engine, shelf)
    switch(shelf)
    reembed(Engine.load(Catalogue.load(shelf, part="previous").model_path()), shelf)
    discard(shelf)
    manifest = read_manifest(shelf)
    assert manifest.generations == [manifest] and manifest.fingerprint == new_engine.fingerprint
    assert names(shelf) == {"manifest.json", ".lock", ".reembed-lock", *manifest.files}
    assert find_problems(shelf) == []


def test_an_empty_catalogue_changes_its_model(engine: Engine, new_engine: Engine, tmp_path: Path) -> None:
    index(engine, [], tmp_path)
    reembed(new_engine, tmp_path)
    assert len(switch(tmp_path)) == 0
