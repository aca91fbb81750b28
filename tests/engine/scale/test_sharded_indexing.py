"""Sharded catalogues that are indexed and edited answer as one catalogue does that was made in the same way."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, ProductFields, Recommender, index
from clipshelf.catalogue.indexing import change
from clipshelf.errors import CatalogueError, InputError, UnknownIdError
from clipshelf.failures import Failure
from clipshelf.recommend.recommender import StoreRecommender
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.edits import add_products, remove_products, update_products
from clipshelf.scale.index_plan import Plan
from clipshelf.scale.indexing import LEFT_OUT_FILE, OneProcess, index_shards
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.shelf import ShardedShelf
from clipshelf.scale.writing import split
from PIL import Image
from support import tiny

WORDS = ("red", "green", "blue", "shoe", "shirt", "watch", "warm")
FIELDS = ProductFields(words=["text", "sku"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 60 products with pictures beside it, two bad ones, and one id that comes twice."""
    folder = tmp_path_factory.mktemp("source")
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(folder / f"{colour}.png")
    lines = ["id,text,image,price,sku,ean"]
    for row in range(60):
        image = f"{list(tiny.COLOURS)[row % 3]}.png" if row % 4 else ""
        text = f"{WORDS[row % 7]} {WORDS[row * 3 % 7]}" if row % 5 else ""
        lines.append(f"p{row},{text or ('' if image else 'red')},{image},{row % 13}.5,DM-{row},{4006381333931 + row}")
    lines += ["bad,red,nowhere.png,1,x,1", "worse,,,1,x,1"]
    (folder / "products.csv").write_text("\n".join(lines) + "\n")
    return folder / "products.csv"


def facts(recommender: StoreRecommender) -> list[Any]:
    queries: list[dict[str, Any]] = [
        {"text": "red shoe", "k": 70},
        {"text": "dm-7 warm"},
        {"liked": ["p1"], "where": "price<5", "boost": {"price": 1.0}},
        {"text": "blue", "where": "sku=DM-8 or ean contains 400"},
    ]
    answers = []
    for query in queries:
        answer = recommender.recommend(**query).to_dict(explain=True)
        answer.pop("took_ms")
        answers.append(answer)
    return answers


def test_an_index_in_shards_is_the_index_of_one_machine(engine: Engine, source: Path, tmp_path: Path) -> None:
    one_failures: list[Failure] = []
    one = index(engine, source, tmp_path / "one", fields=FIELDS, on_error=one_failures.append)
    sharded, failures = index_shards(engine, source, tmp_path / "many", 3, OneProcess(engine), fields=FIELDS)
    assert facts(Recommender(engine, one)) == facts(ShardedRecommender(engine, sharded))
    assert {failure.source for failure in failures} == {failure.source for failure in one_failures} == {"bad", "worse"}
    table = sharded.folder / sharded.manifest.pooled_folder / LEFT_OUT_FILE
    reasons = [json.loads(line) for line in table.read_text().splitlines()]
    assert sorted(row["source"] for row in reasons) == ["bad", "worse"]
    assert any("nowhere.png" in row["reason"] for row in reasons)
    assert not (sharded.folder / "building").exists()


def test_a_column_that_one_piece_has_is_one_of_the_whole(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"id": "a", "title": "red shoe", "rating": "4", "sku": "DM-1"}\n')
    (folder / "b.jsonl").write_text('{"id": "b", "title": "red", "line": "shirt"}\n')
    fields = ProductFields(text=["title", "line"], words=["sku", "title", "line"], columns={"Rating": "number"})
    (tmp_path / "all.jsonl").write_text((folder / "a.jsonl").read_text() + (folder / "b.jsonl").read_text())
    one = index(engine, tmp_path / "all.jsonl", tmp_path / "one", fields=fields)
    sharded, failures = index_shards(engine, folder, tmp_path / "many", 2, OneProcess(engine), fields=fields)
    assert sharded.manifest.word_columns == one.contents.word_columns == ("sku", "text")
    assert sharded.manifest.declarations == one.contents.declarations and not failures
    query: dict[str, Any] = {"text": "dm-1", "where": "rating>3 or rating is missing", "boost": {"rating": 1.0}}
    answers = [r.recommend(**query) for r in (Recommender(engine, one), ShardedRecommender(engine, sharded))]
    assert [(hit.id, hit.score) for hit in answers[0]] == [(hit.id, hit.score) for hit in answers[1]]


@pytest.mark.parametrize(
    "fields",
    [
        ProductFields(columns={"rate": "number"}),
        ProductFields(words=["sku"]),
        ProductFields(text="title"),
        ProductFields(id="key"),
    ],
)
def test_a_column_that_no_piece_has_is_named(engine: Engine, tmp_path: Path, fields: ProductFields) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    path = folder / "a.jsonl"
    path.write_text('{"id": "a", "text": "red shoe", "rating": 4}\n')
    with pytest.raises(InputError) as one:
        index(engine, path, tmp_path / "one", fields=fields)
    with pytest.raises(InputError) as many:
        index_shards(engine, folder, tmp_path / "many", 2, OneProcess(engine), fields=fields)
    assert str(many.value) == str(one.value).replace(str(path), str(folder))


def test_a_folder_of_pieces_is_read_in_the_order_of_paths(engine: Engine, source: Path, tmp_path: Path) -> None:
    lines = source.read_text().splitlines()
    folder = tmp_path / "pieces"
    folder.mkdir()
    for image in source.parent.glob("*.png"):
        (folder / image.name).write_bytes(image.read_bytes())
    for number in range(3):
        part = [lines[0], *lines[1 + 20 * number : 21 + 20 * number]]
        (folder / f"part-{number}.csv").write_text("\n".join(part) + "\n")
    (folder / "part-3.csv").write_text(f"{lines[0]}\np5,green,,7,x,1\n")
    (folder / "whole.txt.bak").write_text("none of it")
    sharded, failures = index_shards(engine, folder, tmp_path / "many", 2, OneProcess(engine), fields=FIELDS)
    kept = tmp_path / "good.csv"
    kept.write_text("\n".join(lines[:61]) + "\n")
    for image in source.parent.glob("*.png"):
        (tmp_path / image.name).write_bytes(image.read_bytes())
    one = index(engine, kept, tmp_path / "one", fields=FIELDS)
    assert facts(Recommender(engine, one)) == facts(ShardedRecommender(engine, sharded))
    reason = "id: expected unique ids, found 'p5' again, which product 5 of"
    first, again = folder / "part-0.csv", folder / "part-3.csv"
    assert failures == [Failure(0, "p5", f"{again}: product 0: {reason} {first} has")]


def test_what_an_interrupted_run_has_done_stays(
    engine: Engine, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Plan.finish

    def interrupted(plan: Plan, shard: int) -> list[Failure]:
        if shard == 2:
            raise KeyboardInterrupt
        return finish(plan, shard)

    monkeypatch.setattr(Plan, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index_shards(engine, source, tmp_path / "many", 3, OneProcess(engine), fields=FIELDS)
    with pytest.raises(CatalogueError, match=r"with a shards\.json, found none"):
        ShardedCatalogue(tmp_path / "many")
    monkeypatch.setattr(Plan, "finish", finish)
    finished = tmp_path / "many" / "shard-0000.1" / "manifest.json"
    stamp = finished.stat().st_mtime_ns
    done: list[int] = []
    index_shards(
        engine,
        source,
        tmp_path / "many",
        3,
        OneProcess(engine),
        fields=FIELDS,
        progress=lambda count, _: done.append(count),
    )
    assert done == [] and finished.stat().st_mtime_ns == stamp
    again, _ = index_shards(engine, source, tmp_path / "other", 3, OneProcess(engine), fields=FIELDS)
    assert _files(tmp_path / "many") == _files(again.folder)


class Forgetful(OneProcess):
    """Loses the second chunk of a piece."""

    def embed(self, plan: Plan) -> Iterator[int]:
        """Embed all chunks but one."""
        return (plan.embed(self.engine, chunk) for chunk in plan.chunks(0) if chunk.number != 1)


def test_a_chunk_that_an_executor_lost_is_no_smaller_catalogue(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipshelf.scale.chunks.CHUNK", 8)
    source = tmp_path / "products.csv"
    source.write_text("id,text\n" + "".join(f"p{row},{WORDS[row % 7]}\n" for row in range(30)))
    with pytest.raises(CatalogueError, match=r"found that 1 files in \w+ are missing, such as 000000-000001\.npz"):
        index_shards(engine, source, tmp_path / "many", 2, Forgetful(engine))
    done: list[int] = []
    sharded, _ = index_shards(
        engine, source, tmp_path / "many", 2, OneProcess(engine), progress=lambda count, _: done.append(count)
    )
    assert done == [8] and len(sharded) == 30


def test_the_folder_of_a_plan_is_named_once_for_all_workers(
    engine: Engine, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[bytes] = []

    class Sending(OneProcess):
        """Pickles the plan, as an executor does that has workers."""

        def embed(self, plan: Plan) -> Iterator[int]:
            """Embed all chunks."""
            plan.unfinished()
            plans.append(pickle.dumps(plan))
            yield from super().embed(plan)

    index_shards(engine, source, tmp_path / "many", 2, Sending(engine))
    # A name for each chunk would take as long as to embed it where a source has thousands of pieces.
    monkeypatch.setattr("clipshelf.scale.index_plan.asdict", None)
    assert pickle.loads(plans[0]).building.parent == tmp_path / "many" / "building"


def test_chunks_are_the_same_again_whatever_is_embedded_meanwhile(
    engine: Engine, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipshelf.scale.chunks.CHUNK", 8)
    seen: list[tuple[list[int], list[int]]] = []

    class Twice(OneProcess):
        def embed(self, plan: Plan) -> Iterator[int]:
            before = plan.unfinished()[0]
            first = [chunk.number for chunk in plan.chunks(0, before)]
            counts = list(super().embed(plan))
            seen.append((first, [chunk.number for chunk in plan.chunks(0, before)]))
            return iter(counts)

    index_shards(engine, source, tmp_path / "many", 2, Twice(engine), fields=FIELDS)
    assert seen == [(list(range(8)), list(range(8)))]


def facts_of_shards(engine: Engine, catalogue: ShardedCatalogue) -> list[Any]:
    """The facts of a sharded catalogue, whose shards are closed then: open ones keep folders of their generation."""
    recommender = ShardedRecommender(engine, catalogue)
    with closing(recommender.shards):
        return facts(recommender)


def test_edits_of_shards_are_the_edits_of_one_catalogue(engine: Engine, source: Path, tmp_path: Path) -> None:
    failures: list[Failure] = []
    one = index(engine, source, tmp_path / "one", fields=FIELDS, on_error=failures.append)
    folder = tmp_path / "many"
    sharded, _ = index_shards(engine, source, folder, 3, OneProcess(engine), fields=FIELDS)
    more = [
        {"id": f"n{i}", "text": WORDS[i], "price": 100 + i, "colour": "x", "image": str(source.parent / "red.png")}
        for i in range(5)
    ]
    one = one.add(engine, more)
    sharded = add_products(folder, engine, more)
    assert facts(Recommender(engine, one)) == facts_of_shards(engine, sharded)
    assert sharded.manifest.generation == 2 and len(sharded) == len(one)
    changes = tmp_path / "changes.csv"
    changes.write_text("id,price,sku\np1,0.25,\np7,99,DM-1\nn2,3,new\n")
    one = one.update(engine, changes)
    sharded = update_products(folder, engine, changes)
    assert facts(Recommender(engine, one)) == facts_of_shards(engine, sharded)
    gone = ["p3", "n1", "p4"]
    one = one.remove(gone)
    sharded = remove_products(folder, gone)
    assert facts(Recommender(engine, one)) == facts_of_shards(engine, sharded)
    assert np.array_equal(one.statistics.means, sharded.manifest.statistics.means)
    # Two generations stay: the current one, and the one before it for those that still read it.
    names = {path.name for path in folder.iterdir()}
    assert {"pooled.4", "pooled.3"} <= names and not {"pooled.1", "pooled.2"} & names


def test_pictures_of_files_in_several_folders_are_found_below_the_source(engine: Engine, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        folder = tmp_path / "source" / colour
        folder.mkdir(parents=True)
        Image.fromarray(tiny.picture(colour)).save(folder / "photo.png")
        (folder / "products.csv").write_text(f"id,image\n{colour},photo.png\n{colour}-2,../{colour}/photo.png\n")
    sharded, failures = index_shards(engine, tmp_path / "source", tmp_path / "many", 2, OneProcess(engine))
    shelf = ShardedShelf(ShardedRecommender(engine, sharded))
    products = {id_: shelf.find(id_) for id_ in ("red", "red-2", "blue", "blue-2")}
    assert not failures and all(products.values())
    paths = {id_: shelf.picture(product, 0) for id_, product in products.items() if product}
    assert paths == {id_: tmp_path / "source" / id_.removesuffix("-2") / "photo.png" for id_ in products}


def test_columns_have_the_order_of_one_catalogue(engine: Engine, tmp_path: Path) -> None:
    names = ("price", "size", "tags", "sold", "added")
    lines = [{"id": f"p{row}", "text": "red", names[row % 5]: row, names[row * 2 % 5]: row} for row in range(9)]
    file = tmp_path / "products.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one = index(engine, file, tmp_path / "one")
    indexed, _ = index_shards(engine, file, tmp_path / "many", 4, OneProcess(engine))
    assert list(indexed.manifest.kinds) == list(one.contents.kinds) == ["price", "size", "tags", "added", "sold"]
    assert list(split(one, tmp_path / "split", 4).manifest.kinds) == list(one.contents.kinds)
    more = [{"id": "n", "text": "red", "new": 1, "price": 3}]
    added = add_products(tmp_path / "many", engine, more)
    assert list(added.manifest.kinds) == list(one.add(engine, more).contents.kinds)


@pytest.mark.parametrize("kind", ["add", "update", "remove"])
def test_an_edit_names_all_ids_that_do_not_fit_as_one_catalogue_does(
    engine: Engine, source: Path, tmp_path: Path, kind: str
) -> None:
    one = index(engine, source, tmp_path / "one", on_error=lambda _: None)
    folder = tmp_path / "many"
    index_shards(engine, source, folder, 3, OneProcess(engine))
    ids = ["p1", "p2", "p3", "p4", "x", "y", "z"]
    products = [{"id": id_, "text": "red"} for id_ in ids]
    edits: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
        "add": (partial(one.add, engine, products), partial(add_products, folder, engine, products)),
        "update": (partial(one.update, engine, products), partial(update_products, folder, engine, products)),
        "remove": (partial(one.remove, ids), partial(remove_products, folder, ids)),
    }
    texts: list[object] = []
    for edit in edits[kind]:
        failures: list[Failure] = []
        with pytest.raises(InputError) as error:
            edit()
        edit(on_error=failures.append)
        texts.append([type(error.value), str(error.value), error.value.__notes__, failures])
    assert texts[0] == texts[1] and len(failures) == (4 if kind == "add" else 3)


def same_contents(one: Catalogue, sharded: ShardedCatalogue) -> None:
    """The shards have the products, rows and keys of one catalogue, in its order."""
    shards = [sharded.shard(number) for number in range(sharded.shards)]
    ordinals = np.concatenate([sharded.ordinals(number) for number in range(sharded.shards)])
    order = np.argsort(ordinals)
    products = [product for shard in shards for product in shard.contents.products]
    assert [products[row] for row in order.tolist()] == list(one.contents.products)
    for name in ("embeddings", "keys"):
        joined = np.concatenate([getattr(shard.contents, name) for shard in shards])[order]
        assert joined.tobytes() == np.asarray(getattr(one.contents, name)).tobytes()


REPEATED = [
    {"id": "a", "text": "red", "image": "nowhere.png", "price": 1},  # cannot be used
    {"id": "b", "text": "blue", "price": 2},
    {"id": "a", "text": "green", "image": "nowhere.png", "price": 3},  # neither can this one
    {"id": "c", "text": "shoe", "price": 4},
    {"id": "a", "text": "warm", "price": 5},  # counts
    {"id": "b", "text": "warm", "price": 6},
    {"id": "d", "text": "red shirt", "image": ["red.png", "blue.png"], "price": 7},
    {"id": "c", "text": "watch", "image": "nowhere.png", "price": 8},
    {"id": "a", "text": "shoe", "price": 9},
]


def test_a_later_record_of_an_id_counts_where_the_first_cannot_be_used(
    engine: Engine, source: Path, tmp_path: Path
) -> None:
    file = source.parent / "repeated.jsonl"
    file.write_text("".join(json.dumps(product) + "\n" for product in REPEATED))
    ignored: list[Failure] = []
    one = index(engine, file, tmp_path / "one", on_error=ignored.append)
    sharded, left_out = index_shards(engine, file, tmp_path / "many", 3, OneProcess(engine))
    assert [product["price"] for product in one.contents.products] == [2, 4, 5, 7]
    same_contents(one, sharded)
    reasons = {(failure.index, failure.source): failure.reason for failure in left_out}
    assert set(reasons) == {(0, "a"), (2, "a"), (5, "b"), (7, "c"), (8, "a")}
    assert "unique ids" in reasons[8, "a"] and "nowhere.png" in reasons[2, "a"]


@pytest.mark.parametrize("kind", ["add", "update"])
def test_an_edit_uses_a_later_record_too(engine: Engine, source: Path, tmp_path: Path, kind: str) -> None:
    file = source.parent / "repeated.jsonl"
    file.write_text("".join(json.dumps(product) + "\n" for product in REPEATED))
    one = index(engine, source, tmp_path / "one", on_error=lambda _: None)
    sharded, _ = index_shards(engine, source, tmp_path / "many", 3, OneProcess(engine))
    if kind == "update":  # of products that are there
        names = {"a": "p1", "b": "p2", "c": "p3", "d": "p4"}
        lines = ({**product, "id": names[str(product["id"])]} for product in REPEATED)
        file.write_text("".join(json.dumps(product) + "\n" for product in lines))
    failures: dict[str, list[Failure]] = {"one": [], "many": []}
    edit = one.add if kind == "add" else one.update
    one = edit(engine, file, on_error=failures["one"].append)
    edit_shards = add_products if kind == "add" else update_products
    sharded = edit_shards(tmp_path / "many", engine, file, on_error=failures["many"].append)
    same_contents(one, sharded)
    assert sorted(failures["many"], key=repr) == sorted(failures["one"], key=repr)
    assert len(failures["one"]) == 5


def test_a_failed_edit_changes_nothing(engine: Engine, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    index_shards(engine, source, folder, 3, OneProcess(engine))
    before = ShardedCatalogue(folder).manifest.to_bytes()
    with pytest.raises(InputError, match="expected ids that the catalogue doesn't have yet, found 'p1'"):
        add_products(folder, engine, [{"id": "new", "text": "red"}, {"id": "p1", "text": "red"}])
    with pytest.raises(UnknownIdError, match="found 'nobody'"):
        remove_products(folder, ["p1", "nobody"])
    assert ShardedCatalogue(folder).manifest.to_bytes() == before
    skipped: list[Failure] = []
    sharded = remove_products(folder, ["p1", "nobody"], on_error=skipped.append)
    assert [failure.index for failure in skipped] == [1] and len(sharded) == 59


def test_errors_name_what_was_expected(engine: Engine, source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file of products, or a folder of such, found none"):
        index_shards(engine, tmp_path / "none.csv", tmp_path / "many", 3, OneProcess(engine))
    with pytest.raises(InputError, match=r"shards: expected a number from 1 to 4,096, found 0"):
        index_shards(engine, source, tmp_path / "many", 0, OneProcess(engine))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(CatalogueError, match=r"found other files: notes\.txt"):
        index_shards(engine, source, tmp_path / "other", 3, OneProcess(engine))
    sharded, _ = index_shards(engine, source, tmp_path / "many", 2, OneProcess(engine))
    path = sharded.folder / "shards.json"
    path.write_bytes(path.read_bytes().replace(b'"products": ', b'"products": 1'))
    with pytest.raises(CatalogueError, match="found a changed one"):
        ShardedCatalogue(sharded.folder)


def test_a_catalogue_that_would_shrink_stays(engine: Engine, source: Path, tmp_path: Path) -> None:
    index_shards(engine, source, tmp_path / "many", 2, OneProcess(engine))
    few = tmp_path / "few.csv"
    few.write_text("id,text\np1,red\n")
    with pytest.raises(
        CatalogueError, match="expected at most 10% of the catalogue's 60 products to go, found that 59"
    ):
        index_shards(engine, few, tmp_path / "many", 2, OneProcess(engine))
    assert len(ShardedCatalogue(tmp_path / "many")) == 60
    sharded, _ = index_shards(engine, few, tmp_path / "many", 2, OneProcess(engine), allow_shrink=1)
    assert len(sharded) == 1 and sharded.manifest.generation == 2


def test_an_update_that_takes_many_pictures_away_is_refused_as_on_one_machine(
    engine: Engine, source: Path, tmp_path: Path
) -> None:
    one = index(engine, source, tmp_path / "one", fields=FIELDS, on_error=list[Failure]().append)
    split(one, tmp_path / "many", 3)
    without = tmp_path / "update.csv"
    without.write_text("id,image\n" + "".join(f"p{row},\n" for row in range(1, 60) if row % 4 and row % 5))
    with pytest.raises(CatalogueError) as of_one:
        change(tmp_path / "one", lambda catalogue: catalogue.update(engine, without))
    with pytest.raises(CatalogueError) as of_many:
        update_products(tmp_path / "many", engine, without)
    assert str(of_many.value) == str(of_one.value).replace(str(tmp_path / "one"), str(tmp_path / "many"))
    assert "pictures to go" in str(of_many.value)
    assert ShardedCatalogue(tmp_path / "many").manifest.generation == 1
    assert update_products(tmp_path / "many", engine, without, allow_shrink=1).manifest.generation == 2


def test_other_commands_say_that_a_catalogue_is_in_shards(engine: Engine, source: Path, tmp_path: Path) -> None:
    index_shards(engine, source, tmp_path / "many", 2, OneProcess(engine), fields=FIELDS)
    with pytest.raises(CatalogueError, match=r"found one in shards, for `clipshelf scale`$"):
        Catalogue.load(tmp_path / "many")


def test_a_shard_of_another_plan_is_not_taken_for_a_finished_one(
    engine: Engine, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Plan.finish

    def interrupted(plan: Plan, shard: int) -> list[Failure]:
        if shard == 1:
            raise KeyboardInterrupt
        return finish(plan, shard)

    other = tmp_path / "other.csv"
    other.write_text("id,text\n" + "".join(f"q{row},blue\n" for row in range(40)))
    monkeypatch.setattr(Plan, "finish", interrupted)
    for interrupted_source in (source, other):
        with pytest.raises(KeyboardInterrupt):
            index_shards(engine, interrupted_source, tmp_path / "many", 2, OneProcess(engine))
    monkeypatch.setattr(Plan, "finish", finish)
    sharded, _ = index_shards(engine, source, tmp_path / "many", 2, OneProcess(engine))
    assert {id_[0] for number in range(2) for id_ in sharded.shard(number).ids} == {"p"} and len(sharded) == 60


def test_a_damaged_pooled_file_is_named(engine: Engine, source: Path, tmp_path: Path) -> None:
    sharded, _ = index_shards(engine, source, tmp_path / "many", 2, OneProcess(engine))
    path = sharded.folder / sharded.manifest.pooled_folder / "ordinals-0001.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CatalogueError, match=r"ordinals-0001\.npy: expected .*, found another file"):
        ShardedRecommender(engine, sharded)


def test_shards_are_ordinary_catalogues(engine: Engine, source: Path, tmp_path: Path) -> None:
    sharded, _ = index_shards(engine, source, tmp_path / "many", 2, OneProcess(engine))
    folders = [sharded.folder / shard.folder for shard in sharded.manifest.shards]
    assert sum(len(Catalogue.load(folder, verify=True)) for folder in folders) == len(sharded) == 60


def _files(folder: Path) -> dict[str, bytes]:
    """The content of all files of a sharded catalogue but its locks; paths of the folder itself are taken out."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_source_that_is_not_there_makes_no_folder(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv: expected a file of products, or a folder of such, found none"):
        index_shards(engine, tmp_path / "nowhere.csv", tmp_path / "many", 2, OneProcess(engine))
    assert not (tmp_path / "many").exists()
