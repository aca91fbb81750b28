"""Sources and pictures in an S3-compatible store: moto's server on loopback, reached through pyarrow alone."""

from __future__ import annotations

import csv
import importlib
import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clipshelf import Engine
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.scale.catalogue import ShardedCatalogue
from clipshelf.scale.indexing import OneProcess, index_shards
from PIL import Image
from support import tiny

moto = pytest.importorskip("moto.server", reason="needs a server of S3: pip install 'moto[server]'")

COLOURS = ("red", "green", "blue")
PRODUCTS: list[dict[str, Any]] = [
    {"id": f"p{row}", "text": f"{COLOURS[row % 3]} shoe {row}", "image": f"{COLOURS[row % 3]}.png", "price": row}
    for row in range(30)
]


class Store:
    """A server of S3 with a bucket `shop`; the process finds it by AWS_ENDPOINT_URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        fs = importlib.import_module("pyarrow.fs")
        options = {
            "endpoint_override": url,
            "access_key": "name",
            "secret_key": "secret",
            "allow_bucket_creation": True,
        }
        self._system = fs.S3FileSystem(**options)
        self._system.create_dir("shop")

    def put(self, path: str, content: bytes) -> None:
        with self._system.open_output_stream(path) as stream:
            stream.write(content)

    def require_keys(self, after: str) -> None:
        """Refuse requests with other keys than known ones, after so many requests."""
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", after.encode(), headers, method="POST")
        urllib.request.urlopen(request, timeout=20).close()


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = Store(f"http://{host}:{port}")
    for colour in COLOURS:
        stream = io.BytesIO()
        Image.fromarray(tiny.picture(colour)).save(stream, "PNG")
        store.put(f"shop/in/{colour}.png", stream.getvalue())
    yield store
    server.stop()


@pytest.fixture
def store(server: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return server


def as_csv(products: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(products[0]))
    writer.writeheader()
    writer.writerows(products)
    return text.getvalue().encode()


def as_json_lines(products: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(product).encode() + b"\n" for product in products)


def as_parquet(products: list[dict[str, Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(products), stream, row_group_size=4)
    return stream.getvalue()


def indexed(engine: Engine, source: str, folder: Path, **options: Any) -> tuple[ShardedCatalogue, list[Failure]]:
    return index_shards(engine, source, folder, 2, OneProcess(engine), **options)


def products_of(catalogue: ShardedCatalogue) -> dict[str, tuple[dict[str, Any], bytes]]:
    """The record without its picture, and the embedding, of each product."""
    parts = [catalogue.shard(number) for number in range(catalogue.shards)]
    return {
        product["id"]: ({**product, "image": None}, part.embeddings[row].tobytes())
        for part in parts
        for row, product in enumerate(part.products)
    }


def test_every_format_gives_the_products_of_files(store: Store, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    thirds = [PRODUCTS[:10], PRODUCTS[10:20], PRODUCTS[20:]]
    files = {
        "a.csv": as_csv(thirds[0]),
        "b.jsonl": as_json_lines(thirds[1]),
        "more/c.parquet": as_parquet([{**product, "image": f"../{product['image']}"} for product in thirds[2]]),
    }
    for colour in COLOURS:
        Image.fromarray(tiny.picture(colour)).save(tmp_path / "in" / f"{colour}.png")
    (tmp_path / "in" / "more").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
        store.put(f"shop/formats/{name}", content)
    for colour in COLOURS:
        picture = (tmp_path / "in" / f"{colour}.png").read_bytes()
        store.put(f"shop/formats/{colour}.png", picture)
    from_files, file_failures = indexed(engine, str(tmp_path / "in"), tmp_path / "files")
    from_store, failures = indexed(engine, "s3://shop/formats/", tmp_path / "store")
    assert failures == file_failures == [] and len(from_store) == 30
    assert products_of(from_store) == products_of(from_files)
    images = {product["id"]: product["image"] for n in range(2) for product in from_store.shard(n).products}
    assert images["p0"] == "s3://shop/formats/red.png" and images["p29"] == "s3://shop/formats/blue.png"


def test_pictures_of_a_local_source_may_be_in_the_store(store: Store, engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "products.csv"
    source.write_text("id,text,image\na,shoe,s3://shop/in/red.png\nb,shirt,s3://shop/in/nowhere.png\n")
    catalogue, failures = indexed(engine, str(source), tmp_path / "many")
    assert [product for n in range(2) for product in catalogue.shard(n).products] == [
        {"id": "a", "image": "s3://shop/in/red.png", "text": "shoe"}
    ]
    (failure,) = failures
    assert failure.source == "b" and failure.reason.startswith("s3://shop/in/nowhere.png: expected a picture, found: ")


def test_products_that_cannot_be_used_are_named_by_their_address(store: Store, engine: Engine, tmp_path: Path) -> None:
    for name, content in (("damaged", b"nothing"), ("empty", b"")):
        store.put(f"shop/bad/{name}.png", content)
    images = ["nowhere.png", "damaged.png", "empty.png", "s3://other/x.png", "nowhere://x"]
    rows = [{"id": str(row), "text": "shoe", "image": image} for row, image in enumerate(images)]
    store.put("shop/bad/a.jsonl", as_json_lines([*rows, {"text": "no id"}, {"id": "0", "text": "again"}]))
    reasons: list[bytes] = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        catalogue, _ = indexed(engine, "s3://shop/bad/a.jsonl", folder, keep_text=True)
        reasons.append((folder / catalogue.manifest.pooled_folder / "left-out.jsonl").read_bytes())
    assert reasons[0] == reasons[1]
    found = {(line["source"], line["part"]): line["reason"] for line in map(json.loads, reasons[0].splitlines())}
    assert found["0", "image"].startswith("s3://shop/bad/nowhere.png: expected a picture, found: ")
    assert found["1", "image"] == "s3://shop/bad/damaged.png: expected a picture, found bytes of no known format"
    assert found["2", "image"] == "s3://shop/bad/empty.png: expected a picture, found: an empty file"
    assert found["3", "image"].startswith("s3://other/x.png: expected a picture, found: ")
    assert found["4", "image"].startswith("nowhere://x: expected a path, or a URI that pyarrow knows, found: ")
    assert found["line 6", None] == "s3://shop/bad/a.jsonl: line 6: product 5: expected an id, found none"
    again = "product 6: id: expected unique ids, found '0' again, which product 0 has"
    assert found["0", None] == f"s3://shop/bad/a.jsonl: {again}" and len(found) == 7


@pytest.mark.parametrize("source", ["s3://nobody/products.csv", "s3://shop/nothing.csv", "s3://shop/nothing/"])
def test_a_bucket_or_key_that_is_not_there_is_one_error(
    store: Store, engine: Engine, tmp_path: Path, source: str
) -> None:
    with pytest.raises(InputError, match=f"^{source}: expected a file of products, or a folder of such, found none$"):
        indexed(engine, source, tmp_path / "many")


def test_a_broken_file_is_named_by_its_address(store: Store, engine: Engine, tmp_path: Path) -> None:
    store.put("shop/broken/a.csv", b"x,y\n1,2\n")
    with pytest.raises(InputError, match=r"^s3://shop/broken/a.csv: expected columns, one named text or image"):
        indexed(engine, "s3://shop/broken/", tmp_path / "many")


def test_keys_that_the_store_does_not_take_are_one_error(store: Store, engine: Engine, tmp_path: Path) -> None:
    store.put("shop/closed/a.csv", as_csv(PRODUCTS))
    store.require_keys("0")
    try:
        with pytest.raises(
            InputError, match=r"^s3://shop/closed/: expected a file or a folder, found: .*ACCESS_DENIED"
        ):
            indexed(engine, "s3://shop/closed/", tmp_path / "many")
    finally:
        store.require_keys("inf")
