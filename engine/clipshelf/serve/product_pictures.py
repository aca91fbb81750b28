"""The pictures of products as clients see them: addresses that change with the picture, and small JPEGs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

from clipshelf.catalogue.product_sides import first_file, pictures_of
from clipshelf.errors import ImageError
from clipshelf.model.image_limits import ImageLimits
from clipshelf.model.thumbnails import thumbnail
from clipshelf.serve.shelf import Shelf
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
    shelf: Shelf, products: Sequence[Product], indices: Sequence[int | None] | None = None
) -> list[str | None]:
    """The address of a picture of each product, None for one without a picture.

    - `indices`: which of several pictures; None for the first one that is a file.
    """
    chosen = [
        first_file(product) if index is None else index
        for product, index in zip(products, indices or [None] * len(products), strict=True)
    ]
    shown = [(product, index) for product, index in zip(products, chosen, strict=True) if index is not None]
    versions = iter(picture_versions(shelf, [product for product, _ in shown], [index for _, index in shown]))
    return [
        None if index is None else _address(product["id"], next(versions), index)
        for product, index in zip(products, chosen, strict=True)
    ]


def picture_versions(shelf: Shelf, products: Sequence[Product], indices: Sequence[int]) -> list[str]:
    """Names of the contents of one picture of each of n products: the keys by which the shelf knows them, in hex."""
    return [key.hex() for key in shelf.picture_keys(products, indices)] if products else []


def _address(id_: str, version: str, index: int) -> str:
    address = f"/v1/products/{quote(id_, safe='')}/image?v={version}"
    return f"{address}&index={index}" if index else address


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

    def of(self, shelf: Shelf, product: Product, index: int, version: str, edge: int) -> bytes | None:
        """A picture of a product as a JPEG.

        - `index`: which of several, from 0.
        - `version`: of its content, see `picture_versions`.
        - `edge`: pixels of the longer edge at most.

        Returns None where it has no picture on this machine. Raises ImageError for one that cannot be read.
        """
        key = (version, edge)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        path = shelf.picture(product, index)
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
