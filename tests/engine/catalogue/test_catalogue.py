from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.errors import FingerprintMismatch, InputError, UnknownIdError
from clipshelf.failures import Failure
from clipshelf.types import Product
from PIL import Image
from support import tiny
from support.embed_counter import EmbedCounter


def test_a_csv_becomes_rows_in_order(engine: Engine, shop: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    catalogue = Catalogue.build(engine, shop, progress=lambda done, total: seen.append((done, total)))
    assert catalogue.ids == ["r", "g", "b"] and len(catalogue) == 3
    assert catalogue.products[0] == {"id": "r", "text": "a red shoe", "image": "red.png", "price": 10.0, "code": "007"}
    assert catalogue.products[2] == {"id": "b", "text": "blue", "code": "2"}
    assert catalogue.picture(catalogue.products[0]) == shop.parent / "red.png"
    assert catalogue.picture(catalogue.products[2]) is None
    assert seen == [(3, 3)]
    np.testing.assert_array_equal(catalogue.text_embeds, engine.embed_texts(["a red shoe", "green", "blue"]))
    np.testing.assert_array_equal(
        catalogue.image_embeds[:2], engine.embed_images([tiny.picture("red"), tiny.picture("green")])
    )
    assert not catalogue.image_embeds[2].any()


def test_dicts_may_carry_pictures_of_any_kind(engine: Engine, shop: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(tiny.picture("red")).save(buffer, "PNG")
    sources = [shop.parent / "red.png", str(shop.parent / "red.png"), buffer.getvalue(), tiny.picture("red")]
    catalogue = Catalogue.build(engine, [{"image": source, "tag": "x"} for source in sources])
    assert catalogue.ids == ["0", "1", "2", "3"]
    assert (catalogue.image_embeds == catalogue.image_embeds[0]).all()
    assert catalogue.products[3] == {"id": "3", "tag": "x"}


def test_it_survives_a_round_trip_and_saves_again(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    built = Catalogue.build(engine, shop)
    for _ in range(3):
        built.save(out)
        loaded = Catalogue.load(out)
        assert loaded.products == built.products and loaded.root == built.root
        assert loaded.fingerprint == engine.fingerprint and loaded.model == str(engine.artifact.path)
        np.testing.assert_array_equal(loaded.embeddings, built.embeddings)
    assert {path.name for path in out.iterdir()} == {"manifest.json", ".lock", *read_manifest(out).files}
    assert all(".3." in name for name in read_manifest(out).files)


@pytest.mark.parametrize(
    ("products", "message"),
    [
        ([{"id": "a"}], "product 'a': expected a text, an image or both, found id"),
        ([{"text": " "}], "product 0: expected a text, an image or both"),
        ([{"text": 3}], "product 0: text: expected str, found int"),
        (["red"], "product 0: expected a dict"),
        ([{"id": 1, "text": "x"}, {"id": "1", "text": "y"}], "id: expected unique ids, found more than one of 1"),
        ([{"id": "p", "text": "x", "image": "nowhere.png"}], r"product 'p': .*nowhere\.png: expected a picture"),
    ],
)
def test_products_that_do_not_fit_are_named(engine: Engine, products: list[dict[str, object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Catalogue.build(engine, products)


def test_a_broken_picture_can_be_left_out(engine: Engine, shop: Path) -> None:
    (shop.parent / "red.png").write_bytes(b"broken")
    failures: list[Failure] = []
    catalogue = Catalogue.build(engine, shop, on_error=failures.append)
    assert catalogue.ids == ["g", "b"]
    assert [(failure.index, failure.source) for failure in failures] == [(0, "r")]
    assert "red.png" in failures[0].reason
    with pytest.raises(InputError, match="on_error: expected 'raise' or a callable that takes a Failure, found 'skip'"):
        Catalogue.build(engine, shop, on_error="skip")  # type: ignore[arg-type]


def test_add_update_and_remove_embed_only_what_changed(
    engine: Engine, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    counter = EmbedCounter(engine, monkeypatch)
    new: list[Product] = [
        {"id": "w", "text": "a warm shirt"},
        {"id": "x", "text": "green", "image": shop.parent / "blue.png"},
    ]
    Catalogue.load(out).add(engine, new).save(out)
    assert counter.texts == ["a warm shirt"] and counter.images == [shop.parent / "blue.png"]
    changed: list[Product] = [
        {"id": "g", "text": "green", "image": "green.png", "price": 8},
        {"id": "w", "text": "a warm watch"},
    ]
    monkeypatch.chdir(shop.parent)
    Catalogue.load(out).update(engine, changed).save(out)
    assert counter.texts == ["a warm shirt", "a warm watch"] and len(counter.images) == 1
    Catalogue.load(out).remove(["r", "b"]).save(out)
    left = Catalogue.load(out)
    assert left.ids == ["g", "w", "x"] and left.rows(["x", "g"]).tolist() == [2, 0] and left.row("w") == 1
    assert left.products[0] == {**changed[0], "code": "1"}
    assert left.picture(left.products[2]) == shop.parent / "blue.png"
    again = Catalogue.build(engine, [*left.products])
    np.testing.assert_array_equal(left.embeddings, again.embeddings)
    assert not find_problems(out)


def test_changes_that_do_not_fit_are_refused(engine: Engine, shop: Path, tmp_path: Path) -> None:
    catalogue = Catalogue.build(engine, shop)
    with pytest.raises(InputError, match="expected ids that the catalogue doesn't have yet, found 'r'"):
        catalogue.add(engine, [{"id": "r", "text": "red"}])
    with pytest.raises(InputError, match="product 0: expected an id, found none"):
        catalogue.add(engine, [{"text": "red"}])
    with pytest.raises(UnknownIdError, match="expected ids of the catalogue's 3 products, found 'z'"):
        catalogue.update(engine, [{"id": "z", "text": "red"}])
    with pytest.raises(UnknownIdError, match="found 'y', 'z'"):
        catalogue.remove(["r", "y", "z"])
    with pytest.raises(InputError, match="ids: expected a sequence of ids, found one str 'red'"):
        catalogue.remove("red")
    other = Engine.load(tiny.write_artifact(tmp_path / "other", seed=1))
    with pytest.raises(FingerprintMismatch, match=f"{engine.fingerprint}, found one with {other.fingerprint}"):
        catalogue.add(other, [{"id": "n", "text": "red"}])


def test_bad_products_are_left_out_with_reasons(engine: Engine, shop: Path) -> None:
    catalogue = Catalogue.build(engine, shop)
    bad: list[Product] = [{"id": "r", "image": "nowhere.png"}, {"id": "g", "text": 3}, {"id": "b", "text": "red"}]
    failures: list[Failure] = []
    updated = catalogue.update(engine, bad, on_error=failures.append)
    assert updated.products[:2] == catalogue.products[:2]
    assert updated.products[2] == {"id": "b", "text": "red", "code": "2"}
    assert [(failure.index, failure.source) for failure in failures] == [(1, "g"), (0, "r")]
    assert "expected str, found int" in failures[0].reason and "nowhere.png" in failures[1].reason
    more: list[Product] = [{"id": "x", "text": 3}, {"id": "y", "text": "red"}, {"id": "z", "image": "nowhere.png"}]
    failures.clear()
    assert catalogue.add(engine, more, on_error=failures.append).ids == ["r", "g", "b", "y"]
    assert [(failure.index, failure.source) for failure in failures] == [(0, "x"), (2, "z")]


def test_records_are_those_of_the_rows(engine: Engine, shop: Path, tmp_path: Path) -> None:
    built = Catalogue.build(engine, shop)
    built.save(tmp_path / "catalogue")
    for catalogue in (built, Catalogue.load(tmp_path / "catalogue")):
        products = list(catalogue.products)
        assert catalogue.records([2, 0, 2]) == [products[2], products[0], products[2]] and catalogue.records([]) == []
        assert catalogue.records(np.array([1])) == [products[1]] and catalogue.records(range(3)) == products
        assert catalogue.products[-1] == products[2] and catalogue.products[1:] == products[1:]
        for row in (-1, 3):
            with pytest.raises(InputError, match=f"rows: expected rows of 3 products, from 0 on, found {row}"):
                catalogue.records([0, row])
        with pytest.raises(IndexError):
            catalogue.products[3]


def test_an_empty_catalogue_answers_nothing(engine: Engine) -> None:
    recommender = Recommender(engine, Catalogue.build(engine, []))
    assert len(recommender.recommend(text="red", image=tiny.picture("red"), diversity=0.5)) == 0


def test_an_empty_catalogue_survives_too(engine: Engine, tmp_path: Path) -> None:
    Catalogue.build(engine, []).save(tmp_path / "empty")
    empty = Catalogue.load(tmp_path / "empty", verify=True)
    assert len(empty) == 0 and empty.ids == [] and empty.embeddings.shape == (0, 8) and not empty.mask({}).size
    with pytest.raises(UnknownIdError, match="found 'x'"):
        empty.row("x")
    empty.add(engine, [{"id": "x", "text": "red"}]).save(tmp_path / "empty")
    Catalogue.load(tmp_path / "empty").remove(["x"]).save(tmp_path / "empty")
    assert len(Catalogue.load(tmp_path / "empty", verify=True)) == 0
