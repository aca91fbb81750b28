from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from clipshelf import Catalogue, Engine
from clipshelf.errors import CatalogueError, InputError
from clipshelf.products import read_products
from PIL import Image


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A CSV of three products with non-square pictures beside it."""
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / f"{colour}.png")
    rows = ["id,text,image,price,code", "r,a red shoe,red.png,10,007", "g,green,green.png,9.5,1", "b,blue,,,2"]
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(rows))
    return path


def test_a_csv_becomes_rows_in_order(engine: Engine, shop: Path) -> None:
    seen: list[tuple[int, int]] = []
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
    assert sorted(path.name for path in out.iterdir()) == ["embeddings.3.npy", "manifest.json", "products.3.jsonl"]


def test_a_save_that_fails_leaves_the_old_state(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    broken = Catalogue.build(engine, [{"text": "red", "tag": "x"}])
    broken.products[0]["tag"] = object()
    with pytest.raises(TypeError):
        broken.save(out)
    assert Catalogue.load(out).ids == ["r", "g", "b"]
    assert not list(out.glob(".*"))


def test_a_folder_of_something_else_is_left_alone(engine: Engine, shop: Path) -> None:
    with pytest.raises(CatalogueError, match="expected a new, an empty or a catalogue folder, found other files"):
        Catalogue.build(engine, shop).save(shop.parent)


@pytest.mark.parametrize(
    ("products", "message"),
    [
        ([{"id": "a"}], "product 0: expected a text, an image or both, found id"),
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
    catalogue = Catalogue.build(engine, shop, on_error="skip")
    assert catalogue.ids == ["g", "b"]
    assert [skipped.id for skipped in catalogue.skipped] == ["r"]
    assert "red.png" in catalogue.skipped[0].reason
    with pytest.raises(InputError, match="on_error: expected 'raise' or 'skip', found 'ignore'"):
        Catalogue.build(engine, shop, on_error="ignore")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a column named text or image, found no columns"),
        ("name,price\nx,1", "expected a column named text or image, found name, price"),
        ("text,price\nx,1,2", "row 2: expected 2 cells"),
        ("text,price\nx", "row 2: expected 2 cells"),
        ('text\n"x', "expected a CSV file"),
    ],
)
def test_a_csv_that_does_not_fit_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_products(path)
    with pytest.raises(InputError, match=r"nowhere\.csv: expected a CSV file"):
        read_products(tmp_path / "nowhere.csv")


def test_what_does_not_match_its_manifest_is_refused(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    with pytest.raises(CatalogueError, match=r"expected a catalogue folder with a manifest\.json, found none"):
        Catalogue.load(out)
    Catalogue.build(engine, shop).save(out)
    with (out / "products.1.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(CatalogueError, match=r"products\.1\.jsonl: expected \d+ bytes, found \d+"):
        Catalogue.load(out)
    manifest = json.loads((out / "manifest.json").read_text())
    for change, message in (
        ({"format": 9}, "format: expected 1, found 9"),
        ({"dim": "4"}, "dim: expected int, found '4'"),
    ):
        (out / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(CatalogueError, match=message):
            Catalogue.load(out)
