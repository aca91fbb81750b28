"""The endpoints that read the catalogue."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from clipshelf.display import json_text
from clipshelf.errors import ImageError
from clipshelf.serve.facts import catalogue_facts
from clipshelf.serve.inputs import parse_parameters
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.product_pictures import image_urls, picture_versions, public_records
from clipshelf.serve.responses import GENERATION, json_response
from clipshelf.serve.schemas import CatalogueFacts, PictureParameters
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

    async def product(self, request: Request) -> Response:
        """Read a product."""
        shelf = self._service.keeper.current
        product = _find(shelf, request.path_params["id"])
        (record,), (address,) = public_records([product]), image_urls(shelf.catalogue, [product])
        text = json_text({"id": product["id"], "product": record, "image_url": address})
        return json_response(text.encode("utf-8", "backslashreplace"), {GENERATION: str(shelf.generation)})

    async def product_image(self, request: Request) -> Response:
        """Read the picture of a product as a small JPEG."""
        parameters = parse_parameters(request, PictureParameters)
        shelf = self._service.keeper.current
        product = _find(shelf, request.path_params["id"])
        (version,) = picture_versions(shelf.catalogue, [product["id"]])
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
                version,
                parameters.size,
            )
        except ImageError as error:
            raise ProblemError(404, "no-picture", str(error)) from None
        if jpeg is None:
            raise ProblemError(404, "no-picture", "id: expected a product with a picture, found one without")
        return Response(jpeg, headers=headers, media_type="image/jpeg")


def _find(shelf: Shelf, id_: str) -> Product:
    """The record of a product. Raises ProblemError."""
    row = int(shelf.catalogue.find([id_])[0])
    if row < 0:
        raise ProblemError(404, "unknown-product", "id: expected the id of a product, found another")
    return shelf.catalogue.records([row])[0]
