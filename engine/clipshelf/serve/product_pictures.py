"""The pictures of products as clients see them: addresses that change with the picture, and small JPEGs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import ImageError
from clipshelf.model.image_limits import ImageLimits
from clipshelf.model.thumbnails import thumbnail
from clipshelf.types import Product

_CACHED_BYTES = 32 << 20


def public_records(products: Sequence[Product]) -> list[Product]:
    """The records as clients see them: a picture outside the catalogue's root has the name of its file alone."""
    return [
        {**product, "image": PurePath(product["image"]).name} if _is_outside(product) else product
        for product in products
    ]


def _is_outside(product: Product) -> bool:
    return PurePath(product.get("image", "")).is_absolute()


def image_urls(catalogue: Catalogue, products: Sequence[Product]) -> list[str | None]:
    """The address of the picture of each product, None for one without a picture."""
    versions = picture_versions(catalogue, [product["id"] for product in products])
    return [
        f"/v1/products/{quote(product['id'], safe='')}/image?v={version}" if "image" in product else None
        for product, version in zip(products, versions, strict=True)
    ]


def picture_versions(catalogue: Catalogue, ids: Sequence[str]) -> list[str]:
    """A name of the content of each product's picture: the key by which the catalogue knows it, in hex."""
    keys = catalogue.contents.keys[catalogue.find(ids), 1]
    return [bytes(key).hex() for key in keys]


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

    def of(self, catalogue: Catalogue, product: Product, version: str, edge: int) -> bytes | None:
        """The picture of a product as a JPEG.

        - `version`: of its content, see `picture_versions`.
        - `edge`: pixels of the longer edge at most.

        Returns None where it has no picture on this machine. Raises ImageError for one that cannot be read.
        """
        key = (version, edge)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        path = catalogue.picture(product)
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
