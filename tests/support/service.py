"""A service that runs for real: uvicorn on a free port of the loopback, in a thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import httpx2
import uvicorn
from clipshelf import Engine, index
from clipshelf.serve.server import image_limits, listen, make_server
from clipshelf.serve.service import Service
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import Keeper, ShelfKeeper
from PIL import Image
from support import tiny
from support.pictures import encode

COLOURS = ("red", "green", "blue")
THINGS = ("shoe", "shirt", "watch")


def photo(colour: str) -> bytes:
    """A small JPEG of one colour."""
    return encode(Image.fromarray(tiny.picture(colour)), "JPEG")


def write_shelf(engine: Engine, folder: Path) -> Path:
    """Write a catalogue of nine products, each with a picture, a text, a price and a category."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for colour in COLOURS:
        (pictures / f"{colour}.jpg").write_bytes(photo(colour))
    products = [
        {
            "id": f"{colour}-{thing}",
            "text": f"a {colour} {thing}",
            "image": str(pictures / f"{colour}.jpg"),
            "category": thing,
            "price": 10.0 * (row + 1),
        }
        for row, (colour, thing) in enumerate((colour, thing) for colour in COLOURS for thing in THINGS)
    ]
    source = folder / "products.jsonl"
    source.write_text("".join(json.dumps(product) + "\n" for product in products))
    index(engine, source, folder / "shelf")
    return folder / "shelf"


class RunningService:
    """A service in a thread of this process, and a client of it.

    - `client`: an HTTP client with its address.
    - `service`: its parts.
    """

    def __init__(self, engine: Engine, folder: Path, settings: Settings, keeper: Keeper | None = None) -> None:
        keeper = keeper or ShelfKeeper(engine, folder, allow_outside=True)
        self.service = Service(keeper, settings, image_limits(settings))
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: uvicorn.Server = make_server(self.service)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],))
        self.client = httpx2.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self) -> RunningService:
        self._thread.start()
        wait_until(self._is_ready)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx2.TransportError:  # a service of a short head_timeout closes connections on a slow machine
            return False

    def stop(self) -> None:
        self.client.close()
        self.server.should_exit = True
        self._thread.join(30)
        if self._thread.is_alive():
            raise TimeoutError("the server did not end")


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, 2,000 looks at most: looks are not lost where the whole machine stands still."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError("waited for 2,000 looks")


# Starts a service of a test's own.
Serve: TypeAlias = Callable[[Settings], RunningService]
