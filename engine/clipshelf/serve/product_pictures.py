"""The pictures of products as clients see them: addresses that change with the picture, and small JPEGs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.product_sides import first_file, pictures_of
from clipshelf.catalogue.statistics import IMAGE
from clipshelf.errors import ImageError
from clipshelf.model.image_limits import ImageLimits
from clipshelf.model.thumbnails import thumbnail
from clipshelf.types import Product

_CACHED_BYTES = 32 << 20


def public_records(products: Sequence[Product]) -> list[Product]:
    """The records as clients see them: a picture outside the catalogue's root has the name of its file alone."""
    return list(map(_public_record, products))


def _public_record(product: Product) -> Product:
    paths = [path and public_path(path) for path in pictures_of(product)]
    if paths == pictures_of(product):
        return product
    return {**product, "image": paths if isinstance(product["image"], list) else paths[0]}


def public_path(path: str) -> str:
    """The path of a picture as clients see it."""
    return PurePath(path).name if PurePath(path).is_absolute() else path


def image_urls(
    catalogue: Catalogue, products: Sequence[Product], indices: Sequence[int | None] | None = None
) -> list[str | None]:
    """The address of a picture of each product, None for one without a picture.

    - `indices`: which of several pictures; None for the first one that is a file.
    """
    addresses: list[str | None] = []
    for product, chosen in zip(products, indices or [None] * len(products), strict=True):
        index = first_file(product) if chosen is None else chosen
        if index is None:
            addresses.append(None)
            continue
        address = f"/v1/products/{quote(product['id'], safe='')}/image?v={picture_version(catalogue, product, index)}"
        addresses.append(f"{address}&index={index}" if index else address)
    return addresses


def picture_version(catalogue: Catalogue, product: Product, index: int) -> str:
    """A name of the content of a product's picture: the key by which the catalogue knows it, in hex."""
    rows = catalogue.find([product["id"]])
    parts = catalogue.contents.parts
    position = int(parts.find(rows, IMAGE)[0])
    keys = catalogue.contents.keys[rows, 1] if position < 0 else parts.keys[parts.span(position)]
    # The record of a catalogue that somebody forged may have more pictures.
    return bytes(keys[min(index, len(keys) - 1)]).hex()


class Thumbnails:
    """Makes small JPEGs of the pictures of products, and remembers the last ones.

    - `limits`: what a picture may cost.

    Any number of threads may share it.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0

    def of(self, catalogue: Catalogue, product: Product, index: int, version: str, edge: int) -> bytes | None:
        """A picture of a product as a JPEG.

        - `index`: which of several, from 0.
        - `version`: of its content, see `picture_version`.
        - `edge`: pixels of the longer edge at most.

        Returns None where it has no picture on this machine. Raises ImageError for one that cannot be read.
        """
        key = (version, edge)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        path = catalogue.picture(product, index)
        if path is None:
            return None
        try:
            jpeg = thumbnail(path, edge, self._limits)
        except ImageError as error:
            # The message names the path, which is none of the client's business.
            raise ImageError(f"expected a picture that can be read, found another: {product['id']!r}") from error
        self._remember(key, jpeg)
        return jpeg

    def _remember(self, key: tuple[str, int], jpeg: bytes) -> None:
        with self._lock:
            self._bytes += len(jpeg) - len(self._cache.pop(key, b""))
            self._cache[key] = jpeg
            while self._bytes > _CACHED_BYTES:
                self._bytes -= len(self._cache.popitem(last=False)[1])
