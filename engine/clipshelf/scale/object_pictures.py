"""Pictures in object stores: they are fetched before their products are embedded, and stored as addresses."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from clipshelf.catalogue.picture_paths import is_path
from clipshelf.catalogue.product_sides import pictures_of
from clipshelf.catalogue.products import ProductBatch
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.model.image_limits import ImageLimits
from clipshelf.scale.pieces import SourceFile, file_system
from clipshelf.types import Product

_FETCHES = 16  # pictures that are fetched at the same time
_OF_IMAGE = re.compile(r"image(?: ([0-9]+))?")  # the part of a failure
_OF_BYTES = re.compile(r"^[0-9]+ bytes: ")


@dataclass(frozen=True)
class ObjectPictures:
    """A batch whose pictures in object stores are fetched.

    - `batch`: has the bytes of such pictures, none where they could not be fetched.
    - `addresses`: of such pictures by the ids of their products, None for a picture that is elsewhere.
    - `errors`: why a picture could not be fetched, by its address.
    - `lists`: ids of the products whose picture is a list, be it of one.
    """

    batch: ProductBatch
    addresses: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    lists: Set[str] = frozenset()

    def explained(self, failure: Failure) -> Failure:
        """A failure of a product of the batch, with the address of its picture, and why it could not be fetched."""
        matched = _OF_IMAGE.fullmatch(failure.part or "image")
        of_part = self.addresses.get(failure.source, ()) if matched else ()
        if matched and matched[1]:
            of_part = of_part[int(matched[1]) - 1 :][:1]
        addresses = [address for address in of_part if address]
        for address in addresses:
            if address in self.errors:
                return replace(failure, reason=self.errors[address])
        if len(addresses) == 1:  # bytes, which have no name
            return replace(failure, reason=_OF_BYTES.sub(f"{addresses[0]}: ", failure.reason))
        return failure

    def record(self, product: Product, failures: Sequence[Failure]) -> Product:
        """The record of a product that is stored: it has the addresses of its pictures, behind the id.

        - `failures`: of the batch, with the pictures that were left out.
        """
        id_ = product["id"]
        if id_ not in self.addresses:
            return product
        left_out = {failure.part for failure in failures if failure.source == id_}
        embedded = [address for i, address in enumerate(self.addresses[id_]) if f"image {i + 1}" not in left_out]
        stored = pictures_of(product) or [None] * len(embedded)
        images = [address or path for address, path in zip(embedded, stored, strict=True)]
        others = {name: value for name, value in product.items() if name not in ("id", "image")}
        return {"id": id_, "image": images if id_ in self.lists else images[0], **others}


def fetch_pictures(batch: ProductBatch, file: SourceFile, limits: ImageLimits) -> ObjectPictures:
    """Fetch the pictures of a batch that are in object stores.

    - `file`: of the source that has the products, from whose folder their relative paths start.
    - `limits`: of the engine that embeds them.
    """
    most_bytes = limits.encoded_bytes + 1  # one more than the engine takes, so that it refuses what is longer
    addresses: dict[str, list[str | None]] = {}
    for product in batch.products:
        of_product = [_address(image, file) if isinstance(image, str) else None for image in pictures_of(product)]
        if any(of_product):
            addresses[product["id"]] = of_product
    if not addresses:
        return ObjectPictures(batch)
    distinct = list(dict.fromkeys(address for of_product in addresses.values() for address in of_product if address))
    with ThreadPoolExecutor(_FETCHES) as pool:
        fetch = partial(_fetch, file=file, most_bytes=most_bytes)
        fetched = dict(zip(distinct, pool.map(fetch, distinct), strict=True))
    contents = {address: b"" if isinstance(content, str) else content for address, content in fetched.items()}
    products: list[Product] = []
    for product in batch.products:
        of_product = addresses.get(product["id"], [])
        if of_product:
            pairs = zip(of_product, pictures_of(product), strict=True)
            images = [image if address is None else contents[address] for address, image in pairs]
            product = {**product, "image": images if isinstance(product["image"], list) else images[0]}  # noqa: PLW2901
        products.append(product)
    errors = {address: content for address, content in fetched.items() if isinstance(content, str)}
    lists = {product["id"] for product in batch.products if isinstance(product.get("image"), list)}
    return ObjectPictures(replace(batch, products=products), addresses, errors, lists)


def _address(image: str, file: SourceFile) -> str | None:
    """The address of a picture in an object store, None for one that the engine reads itself."""
    if is_path(image):
        return None if file.is_local else file.address(posixpath.normpath(f"{file.folder}/{image}"))
    scheme = image.partition("://")[0].lower()
    return None if scheme in ("http", "https", "file") or image[:5].lower() == "data:" else image


def _fetch(address: str, file: SourceFile, most_bytes: int) -> bytes | str:
    """The bytes of a picture, at most so many, or why there are none."""
    try:
        # An address in the bucket of the source is in the same store, whatever options the source's own has.
        bucket = file.path.partition("/")[0]
        if address.startswith(file.address(f"{bucket}/")):
            system, path = file_system(file.source)[0], bucket + address.removeprefix(file.address(bucket))
        else:
            system, path = file_system(address)
        with system.open_input_stream(path) as stream:
            return bytes(stream.read(most_bytes))
    except InputError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{address}: expected a picture, found: {error}"
