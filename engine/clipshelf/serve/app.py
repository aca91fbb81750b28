"""The application: routes of all operations, and what surrounds them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from clipshelf.errors import ShardLost
from clipshelf.serve.catalogue_routes import CatalogueRoutes
from clipshelf.serve.change_routes import ChangeRoutes, RefusedChanges
from clipshelf.serve.embedding_routes import EmbeddingRoutes
from clipshelf.serve.frame import Frame, note_operation
from clipshelf.serve.gate import Gate
from clipshelf.serve.health_routes import HealthRoutes
from clipshelf.serve.operations import ALIASES, OPERATIONS
from clipshelf.serve.page_routes import PageRoutes
from clipshelf.serve.problems import ProblemError, shard_lost
from clipshelf.serve.query_routes import QueryRoutes
from clipshelf.serve.responses import FINGERPRINT, GENERATION, MISSING_SHARDS
from clipshelf.serve.service import Service
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import ShelfKeeper

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def make_app(service: Service) -> Starlette:
    """Build the ASGI application of a service; it warms and drains with the application's life."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    return Starlette(
        routes=[*_operation_routes(service), *_page_routes()],
        middleware=[Middleware(Frame, service=service), *_cors(service.settings), Middleware(Gate, service=service)],
        exception_handlers={ProblemError: _problem, ShardLost: _shard_lost, HTTPException: _http_problem},
        lifespan=lifespan,
    )


def _cors(settings: Settings) -> list[Middleware]:
    """What lets pages of other origins call the service; nothing unless asked."""
    if not settings.cors:
        return []
    methods = ["GET", "POST", *(["PUT", "DELETE"] if settings.writable else [])]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=methods,
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=[GENERATION, FINGERPRINT, MISSING_SHARDS, "Server-Timing", "Retry-After"],
        )
    ]


def handlers(service: Service) -> Mapping[str, Handler]:
    """The handler of each operation by its id."""
    queries, catalogue, keeper = QueryRoutes(service), CatalogueRoutes(service), service.keeper
    changes = ChangeRoutes(service, keeper) if isinstance(keeper, ShelfKeeper) else RefusedChanges()
    embeddings, health = EmbeddingRoutes(service), HealthRoutes(service)
    return {
        "recommend": queries.recommend,
        "recommend_batch": queries.recommend_batch,
        "similar": queries.similar,
        "catalogue": catalogue.catalogue,
        "products": catalogue.products,
        "product": catalogue.product,
        "product_image": catalogue.product_image,
        "change_products": changes.change_products,
        "remove_product": changes.remove_product,
        "embeddings": embeddings.embeddings,
        "models": embeddings.models,
        "model": embeddings.model,
        "live": health.live,
        "ready": health.ready,
        "metrics": health.metrics,
    }


def _operation_routes(service: Service) -> list[Route]:
    handler_of = handlers(service)
    operations = {operation.id: operation for operation in OPERATIONS}
    paths = [(operation.path, operation) for operation in OPERATIONS]
    paths += [(path, operations[id_]) for path, id_ in ALIASES.items()]
    return [
        Route(path, _endpoint(operation.id, handler_of[operation.id]), methods=[operation.method])
        for path, operation in paths
    ]


def _page_routes() -> list[Route]:
    pages = PageRoutes()
    return [
        Route("/", _endpoint("page", pages.index)),
        Route("/static/{name}", _endpoint("static", pages.static)),
        Route("/openapi.json", _endpoint("openapi", pages.openapi)),
        Route("/docs", _endpoint("docs", pages.docs)),
    ]


def _endpoint(id_: str, handler: Handler) -> Handler:
    """A handler that knows its operation and gets its path's parameters decoded."""

    async def endpoint(request: Request) -> Response:
        note_operation(request, id_)
        parameters = request.path_params
        for name, value in parameters.items():
            parameters[name] = unquote(value, errors="replace")
        return await handler(request)

    return endpoint


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    return error.response()


async def _shard_lost(_: Request, error: Exception) -> Response:
    if not isinstance(error, ShardLost):
        raise error
    return shard_lost(error).response()


async def _http_problem(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    detail = "expected a path of the service (/docs), found another"
    if error.status_code == 405:
        detail = f"expected one of the methods of this path, found {request.method}"
    return ProblemError(error.status_code, None, detail, error.headers).response()
