"""Sharded catalogues as a stranger could make them, under the right checksums: each is refused as one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.errors import CatalogueError
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.edits import update_products
from clipshelf.scale.manifest import read_manifest
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from support import forged

PRODUCTS = [{"id": f"p{i}", "text": "red shoe", "sku": f"DM-{i}", "price": i} for i in range(40)]
WORDS = ProductFields(words=("text", "sku"))

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def template(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded") / "shop"
    split(Catalogue.build(Engine.load(tiny_artifact), PRODUCTS, fields=WORDS), folder, 2)
    return folder


def read_fields(folder: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((folder / "shards.json").read_bytes())
    del fields["sha256"]
    return fields


def seal(folder: Path, fields: dict[str, Any]) -> None:
    plain = json.dumps(fields, indent=2, ensure_ascii=False)
    sealed = {**fields, "sha256": hashlib.sha256(plain.encode()).hexdigest()}
    (folder / "shards.json").write_text(json.dumps(sealed, indent=2, ensure_ascii=False) + "\n")


def with_fields(**changed: Any) -> Change:
    return lambda folder: seal(folder, {**read_fields(folder), **changed})


def with_shard(**changed: Any) -> Change:
    def change(folder: Path) -> None:
        fields = read_fields(folder)
        fields["shards"][0] |= changed
        seal(folder, fields)

    return change


def without(name: str) -> Change:
    return lambda folder: seal(folder, {key: value for key, value in read_fields(folder).items() if key != name})


def with_pooled(name: str, content: bytes) -> Change:
    def change(folder: Path) -> None:
        fields = read_fields(folder)
        (folder / "pooled.1" / name).write_bytes(content)
        seal(folder, {**fields, "files": {**fields["files"], name: forged.record(content)}})

    return change


def with_pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def with_shard_of(engine: Engine, count: int, fields: ProductFields = WORDS) -> Change:
    def change(folder: Path) -> None:
        shutil.rmtree(folder / "shard-0000.1")
        Catalogue.build(engine, PRODUCTS[:count], fields=fields).save(folder / "shard-0000.1")
        content = (folder / "shard-0000.1" / "manifest.json").read_bytes()
        with_shard(sha256=hashlib.sha256(content).hexdigest())(folder)

    return change


def npz(*, compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


MANY = np.zeros(1 << 20, np.int64)
HUGE = 10**30
VARIANTS: dict[str, Change] = {
    **{f"without {name}": without(name) for name in ("generation", "model", "words", "relevance_curve", "files")},
    "generation infinite": with_fields(generation=float("inf")),
    "generation huge": with_fields(generation=HUGE),
    "dim a text": with_fields(dim="4"),
    "dim of 4,000 digits": with_fields(dim=10**4000),
    "next ordinal infinite": with_fields(next_ordinal=float("inf")),
    "next ordinal too low": with_fields(next_ordinal=3),
    "declarations of numbers": with_fields(declarations={"price": 1}),
    "declarations of nothing": with_fields(declarations={"price": "cheap"}),
    "kinds unknown": with_fields(kinds={"price": "money"}),
    "deep": with_fields(relevance_curve={"slope": json.loads("[" * 300 + "]" * 300)}),
    "words negative": with_fields(words={"count": -1, "mean_length": 2.0}),
    "words infinite": with_fields(words={"count": 40, "mean_length": float("inf")}),
    "no shards": with_fields(shards=[]),
    "shards numbers": with_fields(shards=[1, 2]),
    "folder outside": with_shard(folder="shard-x/../../other.1"),
    "folder twice": with_shard(folder="shard-0001.1"),
    "products too many": with_shard(products=99),
    "products a text": with_shard(products="20"),
    "sample no array": with_pooled("sample.npy", b"junk"),
    "sample NaN": with_pooled("sample.npy", forged.npy(np.full((9, 8), np.nan, np.float32))),
    "sample of another width": with_pooled("sample.npy", forged.npy(np.zeros((9, 6), np.float32))),
    "words no archive": with_pooled("words.npz", b"junk"),
    "words of floats": with_pooled("words.npz", npz(keys=np.zeros(3), counts=np.zeros(3))),
    "words unsorted": with_pooled("words.npz", npz(keys=np.arange(3, dtype=np.uint64)[::-1], counts=MANY[:3])),
    "words of different lengths": with_pooled("words.npz", npz(keys=np.arange(3, dtype=np.uint64), counts=MANY[:2])),
    "words negative counts": with_pooled("words.npz", npz(keys=np.arange(3, dtype=np.uint64), counts=MANY[:3] - 9)),
    "words packed": with_pooled("words.npz", npz(compressed=True, keys=MANY.astype(np.uint64), counts=MANY)),
    "ordinals too few": with_pooled("ordinals-0000.npy", forged.npy(np.arange(2))),
    "ordinals descending": with_pooled("ordinals-0000.npy", forged.npy(np.arange(40)[::-1].copy())),
    "quantiles none": with_pooled("quantiles-0000.npz", npz(other=np.zeros(3))),
    "quantiles too few": with_pooled("quantiles-0000.npz", npz(column1=np.zeros(1))),
    "quantiles NaN": with_pooled("quantiles-0000.npz", npz(column1=np.full(99, np.nan))),
    **{
        f"{name} a pipe": with_pipe(name)
        for name in ("shards.json", "pooled.1/sample.npy", "pooled.1/ordinals-0000.npy", "shard-0000.1/manifest.json")
    },
}


def use(engine: Engine, folder: Path) -> None:
    recommender = ShardedRecommender(engine, ShardedCatalogue(folder))
    recommender.recommend(text="red DM-7", boost={"price": 0.3}, where="price>3", k=5)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_forged_sharded_catalogue_is_refused_as_one(
    name: str, template: Path, engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(template, folder)
    VARIANTS[name](folder)
    with pytest.raises(CatalogueError) as raised:
        use(engine, folder)
    assert len(str(raised.value)) < 1000
    # An update does not read quantiles: it makes them anew.
    if not name.startswith("quantiles"):
        with pytest.raises(CatalogueError):
            update_products(folder, engine, [{"id": "p3", "price": 4}, {"id": "p4", "price": 4}])


def test_a_shard_of_other_products_or_words_is_refused(template: Path, engine: Engine, tmp_path: Path) -> None:
    products = read_manifest(template).shards[0].products
    for number, (count, fields) in enumerate([(3, WORDS), (products, ProductFields())]):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        with_shard_of(engine, count, fields)(folder)
        with pytest.raises(CatalogueError, match="shard-0000"):
            use(engine, folder)


def test_a_pooled_file_of_another_size_is_not_read(template: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(template, folder)
    with (folder / "pooled.1" / "sample.npy").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(CatalogueError, match=f"found another file of {1 << 40} bytes"):
        ShardedCatalogue(folder)
