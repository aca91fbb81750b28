from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.content_keys import KeyIndex, as_keys, text_key
from clipshelf.catalogue.contents import drafted
from clipshelf.catalogue.disk.journal import Journal
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.save import publish
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.embedding import Memory
from clipshelf.catalogue.indexing import index
from clipshelf.catalogue.products import Batch
from clipshelf.catalogue.readers import Fields
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError, FingerprintMismatch, InputError, UnknownIdError
from clipshelf.types import FloatArray, Product
from PIL import Image
from support import tiny


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
    assert {path.name for path in out.iterdir()} == {"manifest.json", ".lock", *read_manifest(out).files}
    assert all(".3." in name for name in read_manifest(out).files)


def test_a_save_that_fails_leaves_the_old_state(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    broken = Catalogue.build(engine, [{"text": "red", "tag": "x"}])
    broken.products[0]["tag"] = object()
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        broken.save(out)
    assert Catalogue.load(out).ids == ["r", "g", "b"]
    assert {path.name for path in out.iterdir()} == {"manifest.json", ".lock", *read_manifest(out).files}


def test_a_folder_of_something_else_is_left_alone(engine: Engine, shop: Path) -> None:
    with pytest.raises(CatalogueError, match="expected a new, an empty or a catalogue folder, found other files"):
        Catalogue.build(engine, shop).save(shop.parent)


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
    catalogue = Catalogue.build(engine, shop, on_error="skip")
    assert catalogue.ids == ["g", "b"]
    assert [skipped.id for skipped in catalogue.skipped] == ["r"]
    assert "red.png" in catalogue.skipped[0].reason
    with pytest.raises(InputError, match="on_error: expected 'raise' or 'skip', found 'ignore'"):
        Catalogue.build(engine, shop, on_error="ignore")


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
    del manifest["sha256"]
    for change, message in (
        ({"format": 9}, "format: expected 1, found 9"),
        ({"dim": "4"}, "dim: expected int, found '4'"),
        ({"files": {"../x.npy": {"bytes": 1, "sha256": ""}}}, "expected plain file names"),
        ({"files": {"embeddings.1.npy": 3}}, "files: expected bytes and sha256 of each"),
        ({"columns": {"price": "money"}}, "known kinds"),
    ):
        plain = json.dumps({**manifest, **change}, indent=2, ensure_ascii=False)
        sealed = json.loads(plain) | {"sha256": hashlib.sha256(plain.encode()).hexdigest()}
        (out / "manifest.json").write_text(json.dumps(sealed, indent=2, ensure_ascii=False) + "\n")
        with pytest.raises(CatalogueError, match=message):
            Catalogue.load(out)
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CatalogueError, match="expected a text with the sha256 that it names, None, found a changed"):
        Catalogue.load(out)


class Counter:
    """An engine that counts what it embeds."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.images: list[object] = []
        embed_texts, embed_images = engine.embed_texts, engine.embed_images

        def noted_texts(texts: list[str], **options: Any) -> FloatArray:
            self.texts += texts
            return embed_texts(texts, **options)

        def noted_images(images: list[Any], **options: Any) -> FloatArray:
            self.images += images
            return embed_images(images, **options)

        monkeypatch.setattr(engine, "embed_texts", noted_texts)
        monkeypatch.setattr(engine, "embed_images", noted_images)


def test_add_update_and_remove_embed_only_what_changed(
    engine: Engine, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    counter = Counter(engine, monkeypatch)
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
    assert left.products[0] == changed[0] and left.picture(left.products[2]) == shop.parent / "blue.png"
    again = Catalogue.build(engine, [*left.products])
    np.testing.assert_array_equal(left.embeddings, again.embeddings)
    assert not find_problems(out)


def test_a_matrix_that_stays_the_same_is_not_written_again(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    Catalogue.load(out).update(engine, [{"id": "b", "text": "blue", "price": 3}]).save(out)
    files = read_manifest(out).files
    assert "embeddings.1.npy" in files and "products.2.jsonl" in files
    assert Catalogue.load(out).mask({"price": 3}).tolist() == [False, False, True]
    Catalogue.load(out).remove(["r"]).save(out)
    assert "embeddings.3.npy" in read_manifest(out).files and not find_problems(out)


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
    updated = catalogue.update(engine, bad, on_error="skip")
    assert updated.products[:2] == catalogue.products[:2] and updated.products[2] == {"id": "b", "text": "red"}
    assert [skipped.id for skipped in updated.skipped] == ["g", "r"]
    assert "expected str, found int" in updated.skipped[0].reason and "nowhere.png" in updated.skipped[1].reason


def test_an_interrupted_index_goes_on_where_it_stopped(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "catalogue"
    products = [{"id": str(i), "text": f"{'red ' * (i % 7)}{'shoe ' * (i // 7 + 1)}"} for i in range(300)]

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(engine, products, out, fields=Fields(), progress=interrupt)
    with (out / f"journal.{engine.fingerprint}").open("ab") as file:
        file.write(b"torn")
    counter = Counter(engine, monkeypatch)
    catalogue = index(engine, products, out, fields=Fields())
    assert counter.texts == [product["text"] for product in products[128:]]
    np.testing.assert_array_equal(catalogue.embeddings, Catalogue.build(engine, products).embeddings)
    assert not list(out.glob("journal.*")) and not find_problems(out)
    counter.texts.clear()
    index(engine, [*products, {"id": "new", "text": "warm"}], out, fields=Fields())
    assert counter.texts == ["warm"] and len(Catalogue.load(out)) == 301


def test_a_journal_that_was_changed_is_embedded_again(engine: Engine, tmp_path: Path) -> None:
    embeds = np.eye(3, 4, dtype=np.float32)
    keys = as_keys(text_key(word) for word in ("a", "b", "c"))
    with Journal(tmp_path, "0f", 4) as journal:
        journal.append(keys, embeds)
    content = bytearray((tmp_path / "journal.0f").read_bytes())
    for place in (0, 20, 31, 35):  # of the key, the embedding's first and last bytes, the checksum
        changed = content.copy()
        changed[36 + place] ^= 1
        (tmp_path / "journal.0f").write_bytes(changed + b"x" * 35)
        with Journal(tmp_path, "0f", 4) as journal:
            rows = np.zeros((3, 4), np.float32)
            assert journal.known.fill(keys, rows).tolist() == [True, False, True]
            np.testing.assert_array_equal(rows, embeds * [[1], [0], [1]])


def test_keys_that_share_their_first_half_are_told_apart() -> None:
    keys = np.zeros((4, 16), np.uint8)
    keys[:, 0], keys[:, 15] = 1, [3, 1, 2, 1]
    keys = np.concatenate((np.zeros((2, 16), np.uint8), keys))
    wanted = keys[[4, 2, 3, 0]].copy()
    assert KeyIndex(keys).find(wanted).tolist() == [4, 2, 3, -1]
    wanted[:, 15] = 9
    assert KeyIndex(keys).find(wanted).tolist() == [-1] * 4


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


class _Changed:
    """A catalogue's content with some parts of it replaced."""

    def __init__(self, content: Any, **parts: Any) -> None:
        self._content, self._parts = content, parts

    def __len__(self) -> int:
        return len(self._content)

    def __getattr__(self, name: str) -> Any:
        return self._parts[name] if name in self._parts else getattr(self._content, name)


def test_verify_names_files_that_contradict_each_other(engine: Engine, tmp_path: Path) -> None:
    products = [{"id": f"p{i}", "text": f"red {'shoe ' * (i % 3)}", "n": i, "s": "ab"[i % 2]} for i in range(20)]
    content = drafted(engine, Batch(tmp_path, products), tmp_path, Memory(), on_error="raise").draft
    numbers, texts = content.column("n"), content.column("s")
    embeddings, keys = content.embeddings.copy(), content.keys.copy()
    embeddings[7, 5], keys[3, 0] = np.nan, keys[4, 0]
    twice, shop = [*content.ids[:-1], "p0"], tmp_path / "shop"
    shop.mkdir()
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({}, None),
        ({"ids": [*content.ids[:-1], "x"]}, "products and ids: expected the same ids in the same order, found others"),
        ({"ids": twice}, "ids: expected unique ids, found some twice"),
        ({"keys": keys}, "keys: expected those of the ids, found others"),
        ({"kinds": {"n": "number"}}, "columns: expected the fields of the products, found others"),
        ({"column": {"n": replace(numbers, places=numbers.places[::-1]), "s": texts}.get}, "column n: expected the"),
        ({"column": {"n": numbers, "s": replace(texts, values=["a", "c"])}.get}, "column s: expected the values of"),
        ({"statistics": Statistics.none(engine.dim)}, "statistics: expected those of the embeddings, found others"),
        ({"embeddings": embeddings}, "embeddings: expected finite numbers, found others from row 0 on"),
    ]
    for parts, problem in cases:
        changed: Any = _Changed(content, **parts)
        publish(shop, changed, fingerprint="0f", model=None, root=tmp_path, base=None)
        found = find_problems(shop)
        assert not found if problem is None else any(problem in one for one in found), (problem, found)
