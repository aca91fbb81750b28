"""The endpoints that read the catalogue."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.catalogue.product_sides import first_file, pictures_of
from clipshelf.display import json_text
from clipshelf.errors import ImageError, InputError
from clipshelf.serve.facts import catalogue_facts
from clipshelf.serve.inputs import parse_parameters
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.product_pictures import image_urls, picture_version, public_records
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
        self._facts: tuple[Shelf, CatalogueFacts] | None = None

    async def catalogue(self, _: Request) -> Response:
        """Describe the catalogue."""
        shelf = self._service.keeper.current
        if self._facts is None or self._facts[0] is not shelf:
            loop = asyncio.get_running_loop()
            facts = await loop.run_in_executor(self._service.workers, catalogue_facts, shelf, self._service.settings)
            self._facts = shelf, facts
        return json_response(self._facts[1], {GENERATION: str(shelf.generation)})

    async def products(self, request: Request) -> Response:
        """Read products from all over the catalogue."""
        parameters = parse_parameters(request, ProductsParameters)
        shelf = self._service.keeper.current
        loop = asyncio.get_running_loop()
        try:
            text = await loop.run_in_executor(self._service.workers, _spread, shelf, parameters)
        except InputError as error:
            raise ProblemError(422, "bad-request", str(error)) from None
        return json_response(text.encode("utf-8", "backslashreplace"), {GENERATION: str(shelf.generation)})

    async def product(self, request: Request) -> Response:
        """Read a product."""
        shelf = self._service.keeper.current
        product = _find(shelf, request.path_params["id"])
        (record,), (address,) = public_records([product]), image_urls(shelf.catalogue, [product])
        text = json_text(_entry(product, record, address))
        return json_response(text.encode("utf-8", "backslashreplace"), {GENERATION: str(shelf.generation)})

    async def product_image(self, request: Request) -> Response:
        """Read the picture of a product as a small JPEG."""
        parameters = parse_parameters(request, PictureParameters)
        shelf = self._service.keeper.current
        product = _find(shelf, request.path_params["id"])
        index = first_file(product) if parameters.index is None else parameters.index
        if index is None or index >= len(pictures_of(product)):
            raise ProblemError(404, "no-picture", "expected a product with such a picture, found one without")
        version = picture_version(shelf.catalogue, product, index)
        tag = f'"{version}-{parameters.size}"'
        scope = "public" if self._service.settings.keys is None else "private"
        headers = {
            "ETag": tag,
            "Cache-Control": f"{scope}, {_FOR_EVER if parameters.v == version else 'no-cache'}",
            GENERATION: str(shelf.generation),
        }
        if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        loop = asyncio.get_running_loop()
        try:
            jpeg = await loop.run_in_executor(
                self._service.decoders,
                self._service.thumbnails.of,
                shelf.catalogue,
                product,
                index,
                version,
                parameters.size,
            )
        except ImageError as error:
            raise ProblemError(404, "no-picture", str(error)) from None
        if jpeg is None:
            raise ProblemError(404, "no-picture", "id: expected a product with a picture, found one without")
        return Response(jpeg, headers=headers, media_type="image/jpeg")


def _spread(shelf: Shelf, parameters: ProductsParameters) -> str:
    """Products at equal distances among those that a filter lets through, as JSON. Raises InputError."""
    catalogue, where = shelf.catalogue, parameters.where
    rows = np.arange(len(catalogue)) if where is None else np.flatnonzero(catalogue.mask(where))
    count = min(parameters.limit, len(rows))
    products = catalogue.records(rows[np.arange(count) * len(rows) // max(count, 1)])
    entries = zip(products, public_records(products), image_urls(catalogue, products), strict=True)
    return json_text({"total": len(rows), "products": [_entry(*entry) for entry in entries]})


def _entry(product: Product, record: Product, address: str | None) -> dict[str, Any]:
    return {"id": product["id"], "product": record, "image_url": address}


def _find(shelf: Shelf, id_: str) -> Product:
    """The record of a product. Raises ProblemError."""
    row = int(shelf.catalogue.find([id_])[0])
    if row < 0:
        raise ProblemError(404, "unknown-product", "id: expected the id of a product, found another")
    return shelf.catalogue.records([row])[0]
