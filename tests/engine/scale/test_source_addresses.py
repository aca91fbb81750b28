"""Sources that are named by the address of a file system, and the pictures that are fetched from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clipshelf import Catalogue, Engine, index
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.scale.indexing import OneProcess, index_shards
from clipshelf.scale.pieces import pieces_of
from PIL import Image
from support import tiny

PRODUCTS: list[dict[str, Any]] = [
    {"id": "one", "text": "red shoe", "image": ["red.png"]},
    {"id": "several", "text": "", "image": ["red.png", "nowhere.png", "green.png"]},
    {"id": "words", "text": "blue shirt", "image": []},
    {"id": "gone", "text": "", "image": ["nowhere.png"]},
    {"id": "damaged", "text": "warm", "image": ["damaged.png"]},
    {"id": "two", "text": "", "image": ["nowhere.png", "red.png"]},
    {"id": "below", "text": "watch", "image": ["more/blue.png"]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures beside a Parquet file with three row groups."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "more").mkdir()
    for colour, path in (("red", "red.png"), ("green", "green.png"), ("blue", "more/blue.png")):
        Image.fromarray(tiny.picture(colour)).save(folder / path)
    (folder / "damaged.png").write_bytes(b"no picture")
    pq.write_table(pa.Table.from_pylist(PRODUCTS), folder / "products.parquet", row_group_size=2)
    return folder


def embeddings(catalogue: Catalogue) -> dict[str, bytes]:
    return {id_: catalogue.embeddings[row].tobytes() for row, id_ in enumerate(catalogue.ids)}


def addressed(image: str | list[str] | None, folder: Path) -> str | list[str] | None:
    """A picture of a record, or its pictures, as a source at an address stores them."""
    if isinstance(image, list):
        return [f"{folder}/{name}" for name in image]
    return image and f"{folder}/{image}"


def test_a_source_at_an_address_gives_the_products_of_the_file(engine: Engine, folder: Path, tmp_path: Path) -> None:
    file_failures: list[Failure] = []
    path = folder / "products.parquet"
    one = index(engine, path, tmp_path / "one", on_error=file_failures.append, keep_text=True)
    sharded, failures = index_shards(engine, path.as_uri(), tmp_path / "many", 3, OneProcess(engine), keep_text=True)
    parts = [sharded.shard(shard) for shard in range(3)]
    assert {key: value for part in parts for key, value in embeddings(part).items()} == embeddings(one)
    assert {(failure.source, failure.part) for failure in failures} == {
        (failure.source, failure.part) for failure in file_failures
    }
    images = {product["id"]: product.get("image") for part in parts for product in part.products}
    assert images == {product["id"]: addressed(product.get("image"), folder) for product in one.products}
    assert images["several"] == [f"{folder}/red.png", f"{folder}/green.png"] and images["words"] is None


def test_an_address_that_leads_nowhere_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="expected a path, or a URI that pyarrow knows"):
        pieces_of("nowhere://x/y.csv")
    with pytest.raises(InputError, match="expected a file of products, or a folder of such, found none"):
        pieces_of((folder / "more").as_uri())
    broken = folder / "more" / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="expected a Parquet file"):
        pieces_of(broken.as_uri())
    broken.unlink()
