"""The endpoints that read the catalogue."""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from clipshelf.catalogue.product_sides import first_file, pictures_of
from clipshelf.display import json_text
from clipshelf.errors import ImageError, InputError
from clipshelf.serve.facts import catalogue_facts
from clipshelf.serve.inputs import parse_parameters
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.product_pictures import image_urls, picture_versions, public_records
from clipshelf.serve.responses import GENERATION, json_response
from clipshelf.serve.schemas import CatalogueFacts, PictureParameters, ProductsParameters
from clipshelf.serve.service import Service
from clipshelf.serve.shelf import Shelf
from clipshelf.types import Product

_FOR_EVER = "max-age=31536000, immutable"


class CatalogueRoutes:
    """Handlers of the catalogue and its products."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._facts: tuple[weakref.ref[Shelf], CatalogueFacts] | None = None

    async def catalogue(self, _: Request) -> Response:
        """Describe the catalogue."""
        facts = await self._service.on_shelf(self._described)
        return json_response(facts, {GENERATION: str(facts.generation)})

    async def products(self, request: Request) -> Response:
        """Read products from all over the catalogue."""
        parameters = parse_parameters(request, ProductsParameters)
        try:
            read = await self._service.on_shelf(partial(_spread, parameters=parameters))
        except InputError as error:
            raise ProblemError(422, "bad-request", str(error)) from None
        return read.response()

    async def product(self, request: Request) -> Response:
        """Read a product."""
        read = await self._service.on_shelf(partial(_read, id_=request.path_params["id"]))
        return read.response()

    async def product_image(self, request: Request) -> Response:
        """Read the picture of a product as a small JPEG."""
        parameters = parse_parameters(request, PictureParameters)
        id_, service = request.path_params["id"], self._service
        with service.keeper.use() as shelf:
            loop = asyncio.get_running_loop()
            picture = await loop.run_in_executor(service.workers, _locate, shelf, id_, parameters.index)
            headers = self._picture_headers(picture.version, parameters, shelf.generation)
            if headers["ETag"] in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
                return Response(status_code=304, headers=headers)
            try:
                jpeg = await loop.run_in_executor(
                    service.decoders, service.thumbnails.of, shelf, *picture, parameters.size
                )
            except ImageError as error:
                raise ProblemError(404, "no-picture", str(error)) from None
        if jpeg is None:
            raise ProblemError(404, "no-picture", "id: expected a product with a picture, found one without")
        return Response(jpeg, headers=headers, media_type="image/jpeg")

    def _described(self, shelf: Shelf) -> CatalogueFacts:
        """The facts of a generation, which are read once; they do not keep it open."""
        if self._facts is None or self._facts[0]() is not shelf:
            self._facts = weakref.ref(shelf), catalogue_facts(shelf, self._service.settings)
        return self._facts[1]

    def _picture_headers(self, version: str, parameters: PictureParameters, generation: int) -> dict[str, str]:
        scope = "public" if self._service.settings.keys is None else "private"
        return {
            "ETag": f'"{version}-{parameters.size}"',
            "Cache-Control": f"{scope}, {_FOR_EVER if parameters.v == version else 'no-cache'}",
            GENERATION: str(generation),
        }


class _Reading(NamedTuple):
    """Products in JSON, and the generation that they are of."""

    text: str
    generation: int

    def response(self) -> Response:
        """The answer."""
        return json_response(self.text.encode("utf-8", "backslashreplace"), {GENERATION: str(self.generation)})


class _Picture(NamedTuple):
    """A picture of a product, its position among these, and its version."""

    product: Product
    position: int
    version: str


def _spread(shelf: Shelf, parameters: ProductsParameters) -> _Reading:
    """Products at equal distances among those that a filter lets through. Raises InputError."""
    total, products = shelf.spread(parameters.where, parameters.limit)
    entries = zip(products, public_records(products), image_urls(shelf, products), strict=True)
    text = json_text({"total": total, "products": [_entry(*entry) for entry in entries]})
    return _Reading(text, shelf.generation)


def _read(shelf: Shelf, id_: str) -> _Reading:
    """One product. Raises ProblemError."""
    product = _find(shelf, id_)
    (record,), (address,) = public_records([product]), image_urls(shelf, [product])
    return _Reading(json_text(_entry(product, record, address)), shelf.generation)


def _locate(shelf: Shelf, id_: str, index: int | None) -> _Picture:
    """One of the pictures of a product, the first that is a file for None. Raises ProblemError."""
    product = _find(shelf, id_)
    index = first_file(product) if index is None else index
    if index is None or index >= len(pictures_of(product)):
        raise ProblemError(404, "no-picture", "expected a product with such a picture, found one without")
    (version,) = picture_versions(shelf, [product], [index])
    return _Picture(product, index, version)


def _entry(product: Product, record: Product, address: str | None) -> dict[str, Any]:
    return {"id": product["id"], "product": record, "image_url": address}


def _find(shelf: Shelf, id_: str) -> Product:
    """The record of a product. Raises ProblemError."""
    product = shelf.find(id_)
    if product is None:
        raise ProblemError(404, "unknown-product", "id: expected the id of a product, found another")
    return product
