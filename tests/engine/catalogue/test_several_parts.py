"""Products with several pictures and texts: pooling, errors, edits, files."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.catalogue.disk.save import save_generation
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.indexing import change, index
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.catalogue.side_parts import FALLOFF, pool_side
from clipshelf.errors import CatalogueError, InputError
from clipshelf.failures import Failure
from clipshelf.model.engine import Engine
from clipshelf.types import FloatArray, Product
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import tiny
from support.embed_counter import EmbedCounter


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    return tmp_path


PRODUCTS: list[Product] = [
    {"id": "one", "text": "red", "image": "red.png"},
    {"id": "three", "image": ["red.png", "green.png", "blue.png"], "text": ["shoe", "warm shirt"]},
    {"id": "plain", "text": "blue"},
    {"id": "two", "image": ["blue.png", "red.png"]},
]


def write(shop: Path, products: list[Product], name: str = "products.jsonl") -> Path:
    (shop / name).write_text("\n".join(map(json.dumps, products)))
    return shop / name


def pooled(engine: Engine, colours: list[str], falloff: float = FALLOFF) -> FloatArray:
    """Brute force in float64."""
    rows = engine.embed_images([tiny.picture(colour) for colour in colours]).astype(np.float64)
    total = np.array([falloff**i for i in range(len(colours))]) @ rows
    mean: FloatArray = (total / np.linalg.norm(total)).astype(np.float32)
    return mean


def test_a_side_is_the_weighted_mean_of_its_parts(engine: Engine, shop: Path) -> None:
    catalogue = index(engine, write(shop, PRODUCTS), shop / "shelf")
    np.testing.assert_allclose(catalogue.image_embeds[1], pooled(engine, ["red", "green", "blue"]), atol=1e-7)
    np.testing.assert_allclose(catalogue.image_embeds[3], pooled(engine, ["blue", "red"]), atol=1e-7)
    alone = Catalogue.build(engine, [{"image": tiny.picture("red"), "text": "red"}])
    assert catalogue.embeddings[0].tobytes() == alone.embeddings[0].tobytes()
    assert Catalogue.load(shop / "shelf", verify=True).products[1] == PRODUCTS[1]
    assert catalogue.picture(PRODUCTS[1], 2) == shop / "blue.png" and catalogue.picture(PRODUCTS[1], 3) is None


@given(st.integers(1, 8), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_pooling_is_that_of_float64(count: int, falloff: float, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((count, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    side = pool_side(rows, np.zeros((count, 16), np.uint8), falloff)
    expected = np.array([falloff**i for i in range(count)]) @ rows.astype(np.float64)
    np.testing.assert_allclose(side.row, expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(side.coefficients @ rows, side.row, atol=1e-6)
    assert np.allclose(side.coefficients[1:], falloff * side.coefficients[:-1])


def test_parts_that_cancel_each_other_out_leave_the_first() -> None:
    rows = np.array([[1, 0], [-1, 0]], np.float32)
    side = pool_side(rows, np.zeros((2, 16), np.uint8), 1.0)
    assert side.row.tolist() == [1, 0] and side.coefficients.tolist() == [1, 0]


def test_weights_can_be_equal_and_stay_with_the_catalogue(engine: Engine, shop: Path) -> None:
    fields = ProductFields(falloff=1)
    catalogue = index(engine, write(shop, PRODUCTS[:1]), shop / "shelf", fields=fields)
    catalogue = Catalogue.load(shop / "shelf").add(engine, write(shop, PRODUCTS[1:], "more.jsonl"))
    np.testing.assert_allclose(catalogue.image_embeds[3], pooled(engine, ["blue", "red"], 1.0), atol=1e-7)
    with pytest.raises(InputError, match=r"falloff: expected that of the catalogue, 1, .* found 0.5"):
        catalogue.update(engine, [{"id": "one", "text": "x"}], fields=ProductFields(falloff=0.5))
    for wrong in (0, -1, 1.5, True, "1"):
        with pytest.raises(InputError, match="falloff: expected a number above 0"):
            ProductFields(falloff=wrong)  # type: ignore[arg-type]


def test_a_broken_picture_of_several_leaves_the_others(engine: Engine, shop: Path) -> None:
    products = write(
        shop, [{"id": "a", "image": ["red.png", "broken.png", "blue.png"]}, {"id": "b", "image": ["red.png"]}]
    )
    with pytest.raises(InputError, match=r"product 'a': image 2: .*broken\.png"):
        Catalogue.build(engine, products)
    failures: list[Failure] = []
    catalogue = Catalogue.build(engine, products, on_error=failures.append)
    assert [(failure.source, failure.part) for failure in failures] == [("a", "image 2")]
    assert catalogue.products[0]["image"] == ["red.png", "blue.png"] and catalogue.products[1]["image"] == ["red.png"]
    np.testing.assert_allclose(catalogue.image_embeds[0], pooled(engine, ["red", "blue"]), atol=1e-7)
    notes: list[str] = []
    Catalogue.build(engine, products, keep_text=True, on_warning=notes.append)
    assert "left out 1" in notes[0] and "broken.png" in notes[0]


def test_a_product_is_lost_only_with_all_its_pictures(engine: Engine, shop: Path) -> None:
    products = write(
        shop, [{"id": "a", "text": "red", "image": ["broken.png", "gone.png"]}, {"id": "b", "text": "red"}]
    )
    failures: list[Failure] = []
    catalogue = Catalogue.build(engine, products, on_error=failures.append)
    assert catalogue.ids == ["b"] and failures[0].part is None and "found none in 2" in failures[0].reason
    failures.clear()
    catalogue = Catalogue.build(engine, products, on_error=failures.append, keep_text=True)
    assert catalogue.ids == ["a", "b"] and [failure.part for failure in failures] == ["image"]


def test_a_text_of_several_that_is_too_long_leaves_the_others(engine: Engine) -> None:
    failures: list[Failure] = []
    products: list[Product] = [{"id": "a", "text": ["red", "x" * 1_000_001]}]
    catalogue = Catalogue.build(engine, products, on_error=failures.append)
    assert [failure.part for failure in failures] == ["text 2"] and catalogue.products[0]["text"] == ["red"]


def test_edits_keep_the_parts_of_others(engine: Engine, shop: Path) -> None:
    index(engine, write(shop, PRODUCTS), shop / "shelf")
    update = write(
        shop, [{"id": "three", "image": ["blue.png", "green.png"]}, {"id": "one", "price": 3}], "update.jsonl"
    )
    changed = change(shop / "shelf", lambda catalogue: catalogue.update(engine, update), allow_shrink=1)
    assert changed.changes is not None and changed.changes.pictures_lost == 1 and changed.changes.replaced == 2
    np.testing.assert_allclose(changed.image_embeds[1], pooled(engine, ["blue", "green"]), atol=1e-7)
    removed = change(shop / "shelf", lambda catalogue: catalogue.remove(["one", "plain"]))
    assert removed.contents.parts.owners.tolist() == [[0, 0], [0, 1], [1, 0]]
    added = change(shop / "shelf", lambda catalogue: catalogue.add(engine, [{"id": "new", "text": ["red", "blue"]}]))
    assert added.contents.parts.owners.tolist() == [[0, 0], [0, 1], [1, 0], [2, 1]]
    scalar = change(
        shop / "shelf", lambda catalogue: catalogue.update(engine, [{"id": "new", "text": "red"}]), allow_shrink=1
    )
    assert scalar.contents.parts.owners.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert find_problems(shop / "shelf") == []


def test_unchanged_parts_are_not_written_again(engine: Engine, shop: Path) -> None:
    index(engine, write(shop, PRODUCTS), shop / "shelf")
    before = {path.name for path in (shop / "shelf").glob("parts-*")}
    assert len(before) == 5
    change(shop / "shelf", lambda catalogue: catalogue.update(engine, [{"id": "one", "price": 3}]))
    assert {path.name for path in (shop / "shelf").glob("parts-*")} == before
    change(shop / "shelf", lambda catalogue: catalogue.remove(["two", "three"]))
    assert not list((shop / "shelf").glob("parts-*")) and find_problems(shop / "shelf") == []


def test_known_parts_are_not_embedded_again(engine: Engine, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(shop, PRODUCTS)
    first = index(engine, source, shop / "shelf")
    counter = EmbedCounter(engine, monkeypatch)
    again = index(engine, source, shop / "shelf")
    assert not counter.images and again.embeddings.tobytes() == first.embeddings.tobytes()
    assert again.changes is not None and again.changes.unchanged == 4
    other = index(engine, source, shop / "shelf", fields=ProductFields(falloff=0.2))
    assert not counter.images and other.changes is not None and other.changes.replaced == 2


@pytest.mark.parametrize("name", ["owners", "starts", "coefficients"])
def test_parts_that_are_not_as_written_are_refused(engine: Engine, shop: Path, name: str) -> None:
    contents = pickle.loads(pickle.dumps(Catalogue.build(engine, write(shop, PRODUCTS)).contents))
    parts = contents.parts
    assert len(parts) == 3
    wrong = {
        "owners": parts.owners + 99,
        "starts": parts.starts[::-1].copy(),
        "coefficients": parts.coefficients * np.nan,
    }
    forged = MemoryContents(
        contents.products, contents.embeddings, contents.keys, parts=replace(parts, **{name: wrong[name]})
    )
    (shop / "forged").mkdir()
    generation = save_generation(shop / "forged", forged, fingerprint="x", model=None, root=shop)
    with pytest.raises(CatalogueError, match="parts-owners"):
        len(generation.parts)


def test_several_columns_and_separated_cells(engine: Engine, shop: Path) -> None:
    (shop / "wide.csv").write_text(
        "id,front,side,name,more\na,red.png,green.png,red,shoe\nb,blue.png,,warm,\nc,,,shirt,N/A\n"
    )
    fields = ProductFields(image=["front", "side"], text=("name", "more"))
    wide = Catalogue.build(engine, shop / "wide.csv", fields=fields)
    assert wide.products[0] == {"id": "a", "image": ["red.png", "green.png"], "text": ["red", "shoe"]}
    assert wide.products[1:] == [{"id": "b", "image": "blue.png", "text": "warm"}, {"id": "c", "text": "shirt"}]
    (shop / "cells.csv").write_text('id,image,text\na,red.png | green.png|,"a; b"\nb,blue.png,warm\n')
    cells = Catalogue.build(engine, shop / "cells.csv", fields=ProductFields(image_separator="|", delimiter=","))
    assert cells.products == [
        {"id": "a", "image": ["red.png", "green.png"], "text": "a; b"},
        {"id": "b", "image": "blue.png", "text": "warm"},
    ]
    np.testing.assert_array_equal(wide.image_embeds[0], cells.image_embeds[0])


@pytest.mark.parametrize(
    "image",
    [
        [{"bytes": None, "path": "red.png"}, {"bytes": None, "path": None}, "green.png"],
        ("red.png", "green.png", None, ""),
        np.array(["red.png", "green.png"], object),
        [Path("red.png"), "green.png"],
    ],
)
def test_lists_as_tools_write_them(engine: Engine, shop: Path, image: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    catalogue = Catalogue.build(engine, [{"id": "a", "image": image}])
    assert catalogue.products == [{"id": "a", "image": ["red.png", "green.png"]}]
    assert len(catalogue.contents.parts) == 1


def test_pictures_in_memory_are_parts_without_a_path(
    engine: Engine, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    data = (shop / "red.png").read_bytes()
    products: list[Product] = [
        {"id": "a", "image": [{"bytes": data, "path": None}, "blue.png"]},
        {"id": "b", "image": [data, data]},
        {"id": "c", "image": [], "text": "red"},
    ]
    catalogue = Catalogue.build(engine, products)
    assert catalogue.products == [{"id": "a", "image": [None, "blue.png"]}, {"id": "b"}, {"id": "c", "text": "red"}]
    catalogue.save(shop / "shelf")
    assert find_problems(shop / "shelf") == []
    loaded = Catalogue.load(shop / "shelf")
    assert list(loaded.products) == list(catalogue.products)
    record = loaded.products[0]
    assert (
        loaded.picture(record, 0) is None and loaded.picture(record) == loaded.picture(record, 1) == shop / "blue.png"
    )


def test_texts_of_several_are_filtered_and_indexed_together(engine: Engine) -> None:
    products: list[Product] = [{"id": "a", "text": ["red DM-1942", "warm"]}, {"id": "b", "text": "blue"}]
    catalogue = Catalogue.build(engine, products, fields=ProductFields(words=["text"]))
    assert catalogue.mask({"text": {"contains": "warm"}}).tolist() == [True, False]
    assert catalogue.words is not None and catalogue.words.match("dm1942")[0].tolist() == [0]


@pytest.mark.parametrize(
    ("product", "message"),
    [
        ({"text": ["red", 3]}, "text: expected str, found int"),
        ({"image": [{"data": 1}]}, "image: expected a picture, or a dict of its bytes or path"),
        ({"text": ["x"] * 1001}, "text: expected at most 1,000 texts, found 1,001"),
        ({"text": [], "image": [None]}, "expected a text, an image or both"),
        ({"text": [["red"]]}, "text: expected a list of texts, found one with a list in it"),
        ({"image": [["red.png"], "blue.png"]}, "image: expected a list of pictures, found one with a list in it"),
    ],
)
def test_lists_that_are_none_of_texts_or_pictures(engine: Engine, product: Product, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Catalogue.build(engine, [product])


def test_an_interrupted_index_goes_on_with_the_parts_it_has(
    engine: Engine, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(shop, PRODUCTS)
    monkeypatch.setattr(engine, "embed_texts", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        index(engine, source, shop / "shelf")
    monkeypatch.undo()
    counter = EmbedCounter(engine, monkeypatch)
    catalogue = index(engine, source, shop / "shelf")
    assert not counter.images and len(catalogue.contents.parts) == 3
