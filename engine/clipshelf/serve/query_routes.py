"""The endpoints that recommend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.recommend.query import Query
from clipshelf.serve.answering import Answered, Ask, server_timing
from clipshelf.serve.bodies import content_type, unsupported
from clipshelf.serve.gate import count_more
from clipshelf.serve.inputs import parse_json, parse_parameters
from clipshelf.serve.operations import JSON
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.queries import to_query
from clipshelf.serve.responses import GENERATION, json_response
from clipshelf.serve.schemas import BatchBody, QueryBody, QueryParameters, SimilarParameters
from clipshelf.serve.service import Service
from clipshelf.serve.waiting import wait_for

_QUERY = msgspec.json.Decoder(QueryBody)
_BATCH = msgspec.json.Decoder(BatchBody)


class QueryRoutes:
    """Handlers of queries."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def recommend(self, request: Request) -> Response:
        """Answer one query."""
        received = time.perf_counter()
        kind = content_type(request)
        is_picture = kind.startswith("image/")
        if not is_picture and kind != JSON:
            raise unsupported(kind, f"{JSON} or image/*")
        body: QueryBody | QueryParameters
        if is_picture:
            body, photo = parse_parameters(request, QueryParameters), await self._service.bodies.read(request)
        else:
            if request.url.query:
                raise ProblemError(422, "bad-request", "parameters: expected none beside a query in JSON, found some")
            body, photo = parse_json(await self._service.bodies.read(request), _QUERY), None
        started = time.perf_counter()
        query = await to_query(body, self._service.pictures, photo)
        decode_ms = _since(started) if query.images else 0.0
        (answered,) = await self._answers(request, [Ask(query, body.explain, received, decode_ms, time.perf_counter())])
        return _response(answered)

    async def recommend_batch(self, request: Request) -> Response:
        """Answer several queries, each for itself."""
        received = time.perf_counter()
        batch = parse_json(await self._service.bodies.read_json(request), _BATCH)
        count_more(request, self._service, len(batch.queries))
        started = time.perf_counter()
        made = await asyncio.gather(
            *(to_query(body, self._service.pictures) for body in batch.queries), return_exceptions=True
        )
        decode_ms, queued = _since(started), time.perf_counter()
        asks: list[Ask] = []
        for query, body in zip(made, batch.queries, strict=True):
            if isinstance(query, Query):
                asks.append(Ask(query, body.explain, received, decode_ms if query.images else 0.0, queued))
            elif not isinstance(query, ProblemError):
                raise query
        answers = iter(await self._answers(request, asks) if asks else [])
        parts = [_part(next(answers) if isinstance(query, Query) else query) for query in made]
        return json_response(b'{"answers": [' + b", ".join(parts) + b"]}")

    async def similar(self, request: Request) -> Response:
        """Answer with products like one product."""
        received = time.perf_counter()
        parameters = parse_parameters(request, SimilarParameters)
        id_ = request.path_params["id"]
        if self._service.keeper.current.catalogue.find([id_])[0] < 0:
            raise ProblemError(404, "unknown-product", "id: expected the id of a product, found another")
        body = QueryParameters(liked=[id_], k=parameters.k, where=parameters.where, diversity=parameters.diversity)
        query = await to_query(body, self._service.pictures)
        asks = [Ask(query, parameters.explain, received, 0.0, time.perf_counter())]
        (answered,) = await self._answers(request, asks)
        return _response(answered)

    async def _answers(self, request: Request, asks: Sequence[Ask]) -> list[Answered | BaseException]:
        """The answer of each query, or why it has none."""
        remaining = self._service.settings.deadline - (time.perf_counter() - asks[0].received)
        return await wait_for(request, self._service.answers.submit(asks), remaining)


def _response(answered: Answered | BaseException) -> Response:
    if isinstance(answered, BaseException):
        raise answered
    headers = {"Server-Timing": server_timing(answered.took_ms), GENERATION: str(answered.generation)}
    return json_response(answered.body, headers)


def _part(result: Answered | BaseException) -> bytes:
    """One answer of a batch."""
    if isinstance(result, Answered):
        return result.body
    if not isinstance(result, ProblemError):
        raise result
    return msgspec.json.encode({"error": result.problem})


def _since(started: float) -> float:
    return round(1e3 * (time.perf_counter() - started), 3)
