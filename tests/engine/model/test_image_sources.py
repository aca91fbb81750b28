from __future__ import annotations

import base64
import io
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.errors import ImageError
from clipshelf.model.image_decoding import read_rgb
from clipshelf.model.image_limits import ImageLimits
from PIL import Image
from support.pictures import encode, halves

PNG = encode(halves(), "PNG")
BASE64 = base64.b64encode(PNG).decode()


class Pipe(io.RawIOBase):
    """A stream that cannot be rewound, and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self._data.read(7)


def written() -> io.BytesIO:
    """A stream that was written, and stands at its end."""
    stream = io.BytesIO()
    halves().save(stream, "PNG")
    return stream


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(bytearray(PNG), id="bytearray"),
        pytest.param(memoryview(PNG), id="memoryview"),
        pytest.param(memoryview(PNG + PNG)[: len(PNG)], id="part of a memoryview"),
        pytest.param(written(), id="stream at its end"),
        pytest.param(Pipe(PNG), id="pipe"),
        pytest.param({"bytes": PNG, "path": "a.png"}, id="record with bytes"),
        pytest.param("data:image/png;base64," + BASE64, id="data: URI"),
        pytest.param("DATA:;base64," + quote(BASE64), id="quoted data: URI"),
        pytest.param("data:image/png," + quote(PNG), id="data: URI without base64"),
        pytest.param("data:image/png;base64," + BASE64.replace("+", "-").replace("/", "_").rstrip("="), id="URL-safe"),
        pytest.param("data:image/png;base64,\n" + "\n".join(BASE64[i : i + 76] for i in range(0, len(BASE64), 76)),
                     id="data: URI of lines"),
    ],
)  # fmt: skip
def test_a_picture_is_read_from_anything_that_holds_it(source: Any) -> None:
    np.testing.assert_array_equal(np.asarray(read_rgb(source)), np.asarray(halves()))


def test_a_record_without_bytes_stands_for_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    assert read_rgb({"bytes": None, "path": str(tmp_path / "a.png")}).size == (16, 8)
    with pytest.raises(ImageError, match="a record with url, without bytes or path"):
        read_rgb({"url": "x"})


def test_the_same_stream_is_read_twice() -> None:
    stream = io.BytesIO(PNG)
    engine = Engine.load()
    np.testing.assert_array_equal(engine.read_image(stream), engine.read_image(stream))


@pytest.mark.parametrize("url", ["https://example.com/a.jpg", "s3://bucket/a.jpg", "file:///pictures/a.jpg"])
def test_a_url_is_no_path(url: str) -> None:
    with pytest.raises(ImageError, match=f"^{url}: expected a picture, found: a URL: download it first$"):
        read_rgb(url)


def test_a_broken_data_uri_is_named_in_few_words() -> None:
    for uri, reason in (
        ("data:image/png;base64," + BASE64 * 50 + "%", "not base64"),
        ("data:image/png;base64" + BASE64.replace(",", ""), "without a comma"),
    ):
        with pytest.raises(ImageError, match=reason) as caught:
            read_rgb(uri)
        assert len(str(caught.value)) < 200
    with pytest.raises(ImageError) as caught:
        read_rgb("A" * 10_000)  # base64 alone, which is taken for a path
    assert len(str(caught.value)) < 400


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    fifo, folder, sock = tmp_path / "fifo", tmp_path / "folder", tmp_path / "socket"
    os.mkfifo(fifo)
    folder.mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(sock))
    (tmp_path / "link").symlink_to(fifo)
    for path, kind in (
        (fifo, "a FIFO"), (tmp_path / "link", "a FIFO"), (folder, "a folder"), (sock, "a socket"),
        (Path("/dev/zero"), "a device"),
    ):  # fmt: skip
        with pytest.raises(ImageError, match=f"{path}: expected a picture, found: {kind}, which is no regular file"):
            read_rgb(path)
    server.close()


def test_a_file_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    os.mkfifo(path)
    regular = Path(__file__).stat()
    monkeypatch.setattr("clipshelf.model.image_sources.os.stat", lambda _: regular)
    errors: list[str] = []

    def read() -> None:
        try:
            read_rgb(path)
        except ImageError as error:
            errors.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert errors and "a FIFO" in errors[0]


def test_size_is_checked_before_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match=r"1,099,511,627,776 bytes, more than the limit of 100,000,000"):
        read_rgb(path)


@pytest.mark.parametrize("source", [PNG, io.BytesIO(PNG), Pipe(PNG), "data:;base64," + BASE64, {"bytes": PNG}])
def test_every_source_keeps_to_the_limit(source: Any) -> None:
    with pytest.raises(ImageError, match="more than the limit of 20 "):
        read_rgb(source, ImageLimits(encoded_bytes=20))


def test_a_stream_of_text_is_named() -> None:
    with pytest.raises(ImageError, match="a stream of str, not of bytes"):
        read_rgb(io.StringIO("text"))  # type: ignore[arg-type]


def test_limits_reach_the_reader_of_an_engine() -> None:
    engine = Engine.load(limits=ImageLimits(pixels=127))
    with pytest.raises(ImageError, match=r"ImageLimits\.pixels"):
        engine.embed_images([PNG])
    with pytest.raises(ImageError, match=r"ImageLimits\.pixels"):
        engine.embed_images([Image.open(io.BytesIO(PNG))])
