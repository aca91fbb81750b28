"""The endpoints that change the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.catalogue.reading.field_names import plain_name
from clipshelf.display import describe
from clipshelf.serve.gate import caller_of
from clipshelf.serve.giving_up import Pending
from clipshelf.serve.inputs import parse_json
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.product_changes import ProductChanges
from clipshelf.serve.responses import GENERATION, json_response
from clipshelf.serve.schemas import ChangeAnswer, ProductsBody
from clipshelf.serve.service import Service
from clipshelf.serve.shelf import Shelf, ShelfKeeper
from clipshelf.serve.waiting import within
from clipshelf.types import Product

_BODY = msgspec.json.Decoder(ProductsBody)


class ChangeRoutes:
    """Handlers of changes of a catalogue, one of which is made at a time.

    A change that is not being saved at the deadline, or when its client goes, is given up as a whole.
    """

    def __init__(self, service: Service, keeper: ShelfKeeper) -> None:
        self._service = service
        self._changes = ProductChanges(keeper)

    async def change_products(self, request: Request) -> Response:
        """Add and change products."""
        self._require_writer(request)
        body = parse_json(await self._service.bodies.read_json(request), _BODY)
        pending = Pending()
        return await self._within(request, self._put(body, pending), pending)

    async def remove_product(self, request: Request) -> Response:
        """Remove a product."""
        self._require_writer(request)
        pending = Pending()
        removal = partial(self._changes.remove, request.path_params["id"], pending=pending)
        return await self._within(request, self._change(removal), pending)

    async def _within(self, request: Request, work: Coroutine[Any, Any, Response], pending: Pending) -> Response:
        """Work from the body of a request to the begin of its saving, within the deadline."""
        return await within(request, work, self._service.settings.deadline, pending.give_up)

    async def _put(self, body: ProductsBody, pending: Pending) -> Response:
        products = [await self._with_stored_picture(i, product) for i, product in enumerate(body.products)]
        return await self._change(partial(self._changes.put, products, skip=body.on_error == "skip", pending=pending))

    async def _change(self, change: Callable[[], tuple[Shelf, ChangeAnswer]]) -> Response:
        """Make a change in the thread of changes; one that is cancelled before its turn does not begin."""
        shelf, answer = await asyncio.get_running_loop().run_in_executor(self._service.changes, change)
        return json_response(answer, {GENERATION: str(shelf.generation)})

    def _require_writer(self, request: Request) -> None:
        if not self._service.settings.writable:
            raise ProblemError(403, "read-only", "expected a service that was started with --writable, found another")
        if not caller_of(request).may_write:
            raise ProblemError(403, "not-allowed", "expected a key that may write, found one that may only read")

    async def _with_stored_picture(self, position: int, product: Product) -> Product:
        """A record whose pictures are files of the catalogue."""
        try:
            _check_names(product)
            image = product.get("image")
            if image is None:
                return product
            pictures = [await self._picture(part) for part in (image if isinstance(image, list) else [image])]
        except ProblemError as problem:
            raise ProblemError(422, "bad-product", f"products[{position}]: {problem.detail}") from None
        paths = [await self._stored(data) for data in pictures]
        return {**product, "image": paths if isinstance(image, list) else paths[0]}

    async def _picture(self, image: object) -> bytes:
        """The bytes of a picture that can be embedded; any other is not stored. Raises ProblemError."""
        if not isinstance(image, str):
            raise ProblemError(422, "bad-picture", "image: expected a data: URI or base64, found another type")
        data = await self._service.pictures.encoded(image)
        await self._service.pictures.prepare(self._service.keeper.engine, data)
        return data

    async def _stored(self, data: bytes) -> str:
        """The path of a picture that was stored."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._service.writers, self._changes.store_picture, data)


class RefusedChanges:
    """Handlers of changes of products that are no catalogue of this machine."""

    async def change_products(self, _: Request) -> Response:
        """Refuse to add and change products."""
        raise _refused()

    async def remove_product(self, _: Request) -> Response:
        """Refuse to remove a product."""
        raise _refused()


def _refused() -> ProblemError:
    return ProblemError(
        403,
        "read-only",
        "expected a service of one catalogue, found one of a catalogue in shards; `clipshelf scale add`, `update` and "
        "`remove` change these, and the service takes up what they publish",
    )


def _check_names(product: Product) -> None:
    """Refuse a field that would be taken for a picture, and then for a path, although it has another name."""
    for name in product:
        if plain_name(name) in ("id", "text", "image") and plain_name(name) != name:
            raise ProblemError(422, "bad-product", f"expected the field {plain_name(name)}, found {describe(name)}")
