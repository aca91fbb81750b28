"""The endpoints that recommend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.recommend.query import Query
from clipshelf.serve.answering import Answered, Ask, server_timing
from clipshelf.serve.bodies import content_type, unsupported
from clipshelf.serve.costs import check_cost
from clipshelf.serve.gate import count_more
from clipshelf.serve.inputs import parse_json, parse_parameters
from clipshelf.serve.operations import JSON
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.queries import to_query
from clipshelf.serve.query_pictures import RequestPictures
from clipshelf.serve.responses import FINGERPRINT, GENERATION, MISSING_SHARDS, json_response
from clipshelf.serve.schemas import MAX_K, BatchBody, QueryBody, QueryParameters, SimilarParameters
from clipshelf.serve.service import Service
from clipshelf.serve.shelf import Shelf
from clipshelf.serve.waiting import within

Result = TypeVar("Result")

_QUERY = msgspec.json.Decoder(QueryBody)
_BATCH = msgspec.json.Decoder(BatchBody)


class QueryRoutes:
    """Handlers of queries."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def recommend(self, request: Request) -> Response:
        """Answer one query."""
        kind = content_type(request)
        is_picture = kind.startswith("image/")
        if not is_picture and kind != JSON:
            raise unsupported(kind, f"{JSON} or image/*")
        self._service.answers.require_room()  # before the body is read
        body: QueryBody | QueryParameters
        if is_picture:
            body, photo = parse_parameters(request, QueryParameters), await self._service.bodies.read(request)
        else:
            if request.url.query:
                raise ProblemError(422, "bad-request", "parameters: expected none beside a query in JSON, found some")
            body, photo = parse_json(await self._service.bodies.read(request), _QUERY), None
        return _response(await self._within(request, self._answer(body, body.explain, photo)))

    async def recommend_batch(self, request: Request) -> Response:
        """Answer several queries, each for itself."""
        self._service.answers.require_room()
        batch = parse_json(await self._service.bodies.read_json(request), _BATCH)
        count_more(request, self._service, len(batch.queries))
        products = sum(body.k for body in batch.queries)
        if products > MAX_K:
            raise ProblemError(422, "bad-request", f"queries: expected a sum of k of at most {MAX_K}, found {products}")
        answers = await self._within(request, self._answer_batch(batch.queries))
        return json_response(b'{"answers": [' + b", ".join(map(_part, answers)) + b"]}", _batch_headers(answers))

    async def similar(self, request: Request) -> Response:
        """Answer with products like one product."""
        parameters = parse_parameters(request, SimilarParameters)
        id_ = request.path_params["id"]
        if await self._service.on_shelf(lambda shelf: shelf.find(id_)) is None:
            raise ProblemError(404, "unknown-product", "id: expected the id of a product, found another")
        body = QueryParameters(liked=[id_], k=parameters.k, where=parameters.where, diversity=parameters.diversity)
        return _response(await self._within(request, self._answer(body, parameters.explain)))

    async def _within(self, request: Request, work: Coroutine[Any, Any, Result]) -> Result:
        """Work from the body of a request to its answer, within the deadline."""
        return await within(request, work, self._service.settings.deadline)

    async def _answer(
        self, body: QueryBody | QueryParameters, explain: bool, photo: bytes | None = None
    ) -> Answered | BaseException:
        """The answer of a query, or why it has none."""
        received = time.perf_counter()
        with self._service.keeper.use() as shelf:
            pictures = self._service.pictures.of_request(shelf.recommender.engine)
            with self._service.answers.room(1):
                query = await self._checked(body, pictures, explain=explain, photo=photo)
            (answer,) = await self._rank([self._ask(shelf, query, explain, received)])
        return answer

    async def _answer_batch(self, bodies: Sequence[QueryBody]) -> list[Answered | BaseException]:
        """The answer of each query, or why it has none."""
        received = time.perf_counter()
        with self._service.keeper.use() as shelf:
            pictures = self._service.pictures.of_request(shelf.recommender.engine)
            with self._service.answers.room(len(bodies)):
                made = await asyncio.gather(
                    *(self._checked(body, pictures, explain=body.explain) for body in bodies), return_exceptions=True
                )
            asks = [
                self._ask(shelf, query, body.explain, received)
                for query, body in zip(made, bodies, strict=True)
                if isinstance(query, Query)
            ]
            answers = iter(await self._rank(asks) if asks else [])
        return [next(answers) if isinstance(query, Query) else query for query in made]

    @staticmethod
    async def _checked(
        body: QueryBody | QueryParameters, pictures: RequestPictures, *, explain: bool, photo: bytes | None = None
    ) -> Query:
        """The query of a body. Raises ProblemError."""
        query = await to_query(body, pictures, photo)
        check_cost(query, explain=explain)
        return query

    @staticmethod
    def _ask(shelf: Shelf, query: Query, explain: bool, received: float) -> Ask:
        """A query that waits from now on."""
        now = time.perf_counter()
        return Ask(shelf, query, explain, received, _milliseconds(now - received) if query.images else 0.0, now)

    async def _rank(self, asks: Sequence[Ask]) -> list[Answered | BaseException]:
        return await asyncio.gather(*self._service.answers.submit(asks), return_exceptions=True)


def _response(answered: Answered | BaseException) -> Response:
    if isinstance(answered, BaseException):
        raise answered
    headers = {
        "Server-Timing": server_timing(answered.took_ms),
        GENERATION: str(answered.generation),
        FINGERPRINT: answered.fingerprint,
        **_missing([answered]),
    }
    return json_response(answered.body, headers)


def _batch_headers(answers: Sequence[Answered | BaseException]) -> dict[str, str]:
    """The headers of a batch: generation and model of its first answer, and shards that some answers lack."""
    first = next((answer for answer in answers if isinstance(answer, Answered)), None)
    if first is None:
        return {}
    return {GENERATION: str(first.generation), FINGERPRINT: first.fingerprint, **_missing(answers)}


def _missing(answers: Sequence[Answered | BaseException]) -> dict[str, str]:
    """The header that names the shards that some of the answers lack; none where all are whole."""
    numbers = {number for answer in answers if isinstance(answer, Answered) for number in answer.missing_shards}
    return {MISSING_SHARDS: ", ".join(map(str, sorted(numbers)))} if numbers else {}


def _part(result: Answered | BaseException) -> bytes:
    """One answer of a batch."""
    if isinstance(result, Answered):
        return result.body
    if not isinstance(result, ProblemError):
        raise result
    return msgspec.json.encode({"error": result.problem})


def _milliseconds(seconds: float) -> float:
    return round(1e3 * seconds, 3)
