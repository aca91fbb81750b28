"""An update changes the fields that it has, and leaves the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.products import read_products
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.types import Product
from PIL import Image
from support import tiny
from support.embed_counter import EmbedCounter


@pytest.fixture
def catalogue(engine: Engine, shop: Path) -> Catalogue:
    return Catalogue.build(engine, shop)


def test_prices_alone_change_nothing_else(
    engine: Engine, catalogue: Catalogue, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices.csv").write_text("id,price\nr,99\ng,\n")
    for path in tmp_path.glob("*.png"):
        path.unlink()
    counter = EmbedCounter(engine, monkeypatch)
    updated = catalogue.update(engine, tmp_path / "prices.csv")
    assert not counter.texts and not counter.images
    assert updated.products[0] == {**catalogue.products[0], "price": 99}
    assert updated.products[1] == {key: value for key, value in catalogue.products[1].items() if key != "price"}
    assert updated.products[2] == catalogue.products[2]
    np.testing.assert_array_equal(updated.embeddings, catalogue.embeddings)
    assert updated.mask("price=99").tolist() == [True, False, False]
    updated.save(tmp_path / "s")
    assert not find_problems(tmp_path / "s")


def test_a_text_alone_keeps_the_picture_and_the_reverse(engine: Engine, catalogue: Catalogue, shop: Path) -> None:
    updated = catalogue.update(
        engine, [{"id": "r", "text": "a warm watch"}, {"id": "b", "image": shop.parent / "red.png"}]
    )
    np.testing.assert_array_equal(updated.image_embeds[:2], catalogue.image_embeds[:2])
    np.testing.assert_array_equal(updated.text_embeds[1:], catalogue.text_embeds[1:])
    np.testing.assert_array_equal(updated.text_embeds[0], engine.embed_texts(["a warm watch"])[0])
    np.testing.assert_array_equal(updated.image_embeds[2], engine.embed_images([tiny.picture("red")])[0])
    assert updated.products[0]["image"] == "red.png" and updated.products[2]["image"] == "red.png"
    assert list(updated.products[2]) == ["id", "image", "text", "code"]
    assert updated.changes is not None and updated.changes.pictures_gained == 1


def test_a_blank_takes_a_side_away_unless_none_would_stay(engine: Engine, catalogue: Catalogue) -> None:
    updated = catalogue.update(engine, [{"id": "r", "image": None}, {"id": "g", "text": ""}])
    assert updated.present.tolist() == [[False, True], [True, False], [False, True]]
    assert "image" not in updated.products[0] and "text" not in updated.products[1]
    failures: list[Failure] = []
    both: list[Product] = [{"id": "b", "text": None, "price": 1}, {"id": "g", "text": None, "image": None}]
    assert catalogue.update(engine, both, on_error=failures.append).products == catalogue.products
    assert [failure.source for failure in failures] == ["b", "g"] and "expected a text or an image to stay" in str(
        failures
    )
    with pytest.raises(InputError, match="product 'b': expected a text or an image to stay, found neither"):
        catalogue.update(engine, both)


def test_a_later_record_of_an_id_counts_where_the_first_would_leave_neither_side(
    engine: Engine, catalogue: Catalogue, shop: Path
) -> None:
    failures: list[Failure] = []
    records: list[Product] = [
        {"id": "b", "text": "", "price": 1},
        {"id": "g", "price": 2},
        {"id": "nobody", "price": 3},
        {"id": "b", "text": None, "price": 4},
        {"id": "b", "text": "green", "price": 5},
        {"id": "nobody", "price": 6},
        {"id": "b", "price": 7},
    ]
    updated = catalogue.update(engine, records, on_error=failures.append)
    assert [product.get("price") for product in updated.products] == [10, 2, 5]
    assert updated.products[2]["text"] == "green"
    reasons = {failure.index: failure.reason for failure in failures}
    assert sorted(reasons) == [0, 2, 3, 5, 6]
    assert all("expected a text or an image to stay, found neither" in reasons[i] for i in (0, 3))
    assert all("expected an id of the catalogue's 3 products" in reasons[i] for i in (2, 5))
    assert "found 'b' again, which product 4 has" in reasons[6]


def test_a_later_record_that_would_leave_neither_side_is_not_used_for_a_broken_one(
    engine: Engine, catalogue: Catalogue, shop: Path
) -> None:
    failures: list[Failure] = []
    records: list[Product] = [
        {"id": "b", "image": shop.parent / "none.png"},
        {"id": "b", "text": None, "price": 4},
        {"id": "b", "price": 5},
    ]
    updated = catalogue.update(engine, records, on_error=failures.append)
    assert updated.products[2] == {**catalogue.products[2], "price": 5}
    assert sorted(failure.index for failure in failures) == [0, 1]


def test_a_column_that_differs_from_one_of_the_catalogue_in_case_alone_is_told(
    engine: Engine, catalogue: Catalogue, tmp_path: Path
) -> None:
    (tmp_path / "prices.csv").write_text("ID,Text,PRICE, code\nr,red,99,A\n")
    for kind in ("update", "add"):
        notes: list[str] = []
        edit = catalogue.update if kind == "update" else catalogue.remove(["r"]).add
        edited = edit(engine, tmp_path / "prices.csv", on_warning=notes.append)
        told = [note for note in notes if "is another one than the catalogue's" in note]
        assert len(told) == 1 and "the column 'PRICE' is another one than the catalogue's 'price'" in told[0]
        assert edited.mask("PRICE=99").sum() == 1
        assert any("the column 'ID' is taken for 'id'" in note for note in notes)


def test_an_update_without_ids_is_refused(engine: Engine, catalogue: Catalogue) -> None:
    with pytest.raises(InputError, match="expected an id"):
        catalogue.update(engine, [{"price": 3}])


def test_a_column_keeps_its_kind(engine: Engine, catalogue: Catalogue, tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "more.csv").write_text("id,text,price\nx,red,n/a\ny,red,3\n")
    catalogue.save(tmp_path / "s")
    for before in (catalogue, Catalogue.load(tmp_path / "s")):
        more = before.add(engine, tmp_path / "more.csv", on_warning=notes.append)
        assert more.mask("price<5").tolist() == [False, False, False, False, True]
        more = more.update(engine, [{"id": "r", "price": "cheap"}], on_warning=notes.append)
        assert more.products[0]["price"] == "cheap" and more.mask("price<11").tolist()[0] is False
        assert any("cheap" in note for note in notes)
        more.save(tmp_path / "t", allow_shrink=1)
        assert not find_problems(tmp_path / "t")


def test_a_picture_that_cannot_be_read_leaves_the_text(engine: Engine, shop: Path) -> None:
    (shop.parent / "red.png").write_bytes(b"broken")
    failures: list[Failure] = []
    kept = Catalogue.build(engine, shop, keep_text=True, on_error=failures.append)
    assert kept.ids == ["r", "g", "b"] and kept.present[0].tolist() == [False, True]
    assert [(failure.source, failure.part) for failure in failures] == [("r", "image")]
    assert kept.products[0]["image"] == "red.png"
    Image.fromarray(tiny.picture("red")).save(shop.parent / "red.png")
    mended = Catalogue.embed(engine, read_products(shop), cache=kept.embedding_cache)
    assert mended.present[0].tolist() == [True, True]
    assert (
        Catalogue.build(engine, shop, keep_text=True).compared_with(mended).changes
        == mended.compared_with(mended).changes
    )


def test_without_a_text_a_broken_picture_still_costs_the_product(engine: Engine, shop: Path) -> None:
    failures: list[Failure] = []
    products: list[Product] = [
        {"id": "a", "image": "nowhere.png"},
        {"id": "b", "image": "nowhere.png", "text": "red"},
    ]
    kept = Catalogue.build(engine, products, keep_text=True, on_error=failures.append)
    assert kept.ids == ["b"] and [(f.source, f.part) for f in failures] == [("a", None), ("b", "image")]
    with pytest.raises(InputError, match=r"product 'a': .*nowhere"):
        Catalogue.build(engine, products, keep_text=True)
    notes: list[str] = []
    assert Catalogue.build(engine, products[1:2], keep_text=True, on_warning=notes.append).ids == ["b"]
    assert len(notes) == 1 and "left out 1; that of product 'b'" in notes[0]


def test_a_path_that_no_text_can_hold_costs_the_picture_alone(engine: Engine) -> None:
    products: list[Product] = [{"id": "a", "text": "red", "image": "half \ud83d.png"}]
    failures: list[Failure] = []
    kept = Catalogue.build(engine, products, keep_text=True, on_error=failures.append)
    assert kept.products == [{"id": "a", "text": "red"}]
    assert failures == [Failure(0, "a", r"image: expected a path in Unicode text, found 'half \ud83d.png'", "image")]
    with pytest.raises(InputError, match=r"product 'a': image: expected a path in Unicode text"):
        Catalogue.build(engine, products)


def test_an_update_with_a_broken_picture_keeps_the_old_one(engine: Engine, catalogue: Catalogue) -> None:
    failures: list[Failure] = []
    broken: list[Product] = [{"id": "r", "image": "nowhere.png", "price": 1}]
    updated = catalogue.update(engine, broken, keep_text=True, on_error=failures.append)
    assert updated.products[0] == {**catalogue.products[0], "price": 1} and len(failures) == 1
    np.testing.assert_array_equal(updated.embeddings, catalogue.embeddings)
    assert catalogue.update(engine, broken, on_error=failures.append).products == catalogue.products
