from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clipshelf import Engine, index
from clipshelf.catalogue.embedding import embed_products
from clipshelf.catalogue.products import read_products
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.types import Product
from PIL import Image
from support import tiny
from support.embed_counter import EmbedCounter


def test_equal_texts_and_pictures_are_embedded_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tiny.picture("red")
    products: list[Product] = [{"text": "red", "image": picture.copy()} for _ in range(300)]
    counter, seen = EmbedCounter(engine, monkeypatch), list[tuple[int, int | None]]()
    embedded = embed_products(
        engine, read_products(products), root=Path(), progress=lambda done, total: seen.append((done, total))
    )
    assert counter.texts == ["red"] and len(counter.images) == 1
    assert (embedded.contents.embeddings == embedded.contents.embeddings[0]).all()
    assert seen == [(128, 300), (256, 300), (300, 300)]


def test_a_broken_picture_leaves_out_the_products_that_have_it_and_no_other(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    products: list[Product] = [
        {"id": "a", "text": "red", "image": "broken.png"},
        {"id": "b", "text": "red"},
        {"text": 3},
        {"id": "c", "text": "blue", "image": "broken.png"},
        {"id": "d", "text": "red", "image": tiny.picture("red")},
    ]
    failures: list[Failure] = []
    batch = read_products(products, on_error=failures.append)
    batch = type(batch)(tmp_path, batch.products, batch.positions)
    embedded = embed_products(engine, batch, root=tmp_path, on_error=failures.append)
    assert embedded.contents.ids == ["b", "d"] and embedded.rows.tolist() == [1, 3]
    assert [(failure.index, failure.source) for failure in failures] == [(2, "2"), (0, "a"), (3, "c")]
    assert all("broken.png: expected a picture" in failure.reason for failure in failures[1:])
    np.testing.assert_array_equal(embedded.contents.embeddings[:, engine.dim :], engine.embed_texts(["red"] * 2))
    with pytest.raises(InputError, match=r"product 'a': .*broken\.png"):
        embed_products(engine, batch, root=tmp_path)


def test_a_later_product_of_an_id_counts_where_the_earlier_ones_cannot_be_embedded(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    Image.fromarray(tiny.picture("red")).save(tmp_path / "red.png")
    lines = [
        "id,text,image",
        "a,red,broken.png",
        "b,green,",
        "a,blue,gone.png",
        "a,warm,red.png",
        "a,shoe,",
        "b,shirt,",
    ]
    (tmp_path / "shop.csv").write_text("\n".join(lines))
    failures: list[Failure] = []
    catalogue = index(engine, tmp_path / "shop.csv", tmp_path / "shelf", on_error=failures.append)
    assert catalogue.products == [{"id": "b", "text": "green"}, {"id": "a", "text": "warm", "image": "red.png"}]
    np.testing.assert_array_equal(catalogue.text_embeds, engine.embed_texts(["green", "warm"]))
    assert [failure.index for failure in failures] == [0, 2, 4, 5]
    assert "broken.png" in failures[0].reason and "gone.png" in failures[1].reason
    assert "line 6: id: expected unique ids, found 'a' again, which line 5 has" in failures[2].reason
    assert "found 'b' again, which line 3 has" in failures[3].reason
    update = write_rows(tmp_path / "update.csv", ["id,image,price", "a,broken.png,1", "a,red.png,2"])
    changed = catalogue.update(engine, update, on_error=failures.append)
    assert changed.products[1] == {"id": "a", "text": "warm", "image": "red.png", "price": 2}


def write_rows(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows))
    return path
