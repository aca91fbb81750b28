"""The endpoints that OpenAI's clients call."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.model.engine import Engine
from clipshelf.model.image import PreparedImage
from clipshelf.serve.embedding_batches import ToEmbed
from clipshelf.serve.facts import model_id
from clipshelf.serve.gate import count_more
from clipshelf.serve.inputs import parse_json
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.responses import FINGERPRINT, json_response
from clipshelf.serve.schemas import (
    MAX_TEXT,
    Embedding,
    EmbeddingInput,
    EmbeddingsAnswer,
    EmbeddingsBody,
    ImageUrl,
    ModelEntry,
    ModelList,
    Usage,
)
from clipshelf.serve.service import Service
from clipshelf.serve.waiting import within
from clipshelf.types import FloatArray

_BODY = msgspec.json.Decoder(EmbeddingsBody)


class EmbeddingRoutes:
    """Handlers of embeddings and models."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def embeddings(self, request: Request) -> Response:
        """Embed texts and pictures, in the order in which they come."""
        self._service.embeddings.require_room()
        body = parse_json(await self._service.bodies.read_json(request), _BODY)
        engine = self._service.keeper.engine
        self._check(body, engine)
        inputs = body.input if isinstance(body.input, list) else [body.input]
        count_more(request, self._service, len(inputs))
        items = [_text_or_picture(position, each, body.modality) for position, each in enumerate(inputs)]
        work = self._embed(items, engine, body.encoding_format)
        answer = await within(request, work, self._service.settings.deadline)
        return json_response(answer, {FINGERPRINT: engine.fingerprint})

    async def _embed(self, items: Sequence[_Input], engine: Engine, encoding: str) -> bytes:
        """The JSON of an answer. Raises ProblemError."""
        pictures = self._service.pictures.of_request(engine)
        with self._service.embeddings.room(len(items)):
            prepared = iter(await pictures.prepare([item.picture for item in items if item.picture is not None]))
        sources = [item.text if item.picture is None else next(prepared) for item in items]
        waiting = self._service.embeddings.submit([ToEmbed(engine, source) for source in sources])
        rows = await asyncio.gather(*waiting)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._service.workers, _answer, engine, sources, rows, encoding)

    async def models(self, _: Request) -> Response:
        """List the model."""
        return json_response(ModelList([self._entry()]))

    async def model(self, request: Request) -> Response:
        """Describe the model."""
        self._check_model(request.path_params["id"], self._service.keeper.engine)
        return json_response(self._entry())

    def _entry(self) -> ModelEntry:
        engine = self._service.keeper.engine
        return ModelEntry(model_id(engine), 0, engine.fingerprint, engine.dim)

    def _check(self, body: EmbeddingsBody, engine: Engine) -> None:
        if body.model is not None:
            self._check_model(body.model, engine)
        if body.dimensions not in (None, engine.dim):
            raise ProblemError(
                422, "bad-request", f"dimensions: expected {engine.dim}, the width of the model, found another number"
            )

    @staticmethod
    def _check_model(name: str, engine: Engine) -> None:
        if name != model_id(engine):
            raise ProblemError(404, "unknown-model", f"model: expected {model_id(engine)}, found another")


@dataclass(frozen=True)
class _Input:
    text: str
    picture: str | None


def _text_or_picture(position: int, source: str | EmbeddingInput, modality: str) -> _Input:
    """What one input is. Raises ProblemError for one that is neither a text nor a picture, or both."""
    if isinstance(source, str):
        return _Input(_text(position, source), None) if modality == "text" else _Input("", source)
    given = [value for value in (source.text, source.image, source.image_url) if value is not UNSET]
    if len(given) != 1:
        raise ProblemError(
            422, "bad-request", f"input[{position}]: expected one of text, image and image_url, found {len(given)}"
        )
    if isinstance(source.text, str):
        return _Input(_text(position, source.text), None)
    picture = given[0].url if isinstance(given[0], ImageUrl) else given[0]
    return _Input("", str(picture))


def _text(position: int, text: str) -> str:
    """A text to embed, which is no longer than one of a query; a string of the input may be a picture, and is not."""
    if not text.strip() or len(text) > MAX_TEXT:
        raise ProblemError(
            422,
            "bad-request",
            f"input[{position}]: expected a text of 1 to {MAX_TEXT:,} characters, found {len(text):,}",
        )
    return text


def _answer(engine: Engine, sources: Sequence[str | PreparedImage], rows: Sequence[FloatArray], encoding: str) -> bytes:
    """The JSON of an answer."""
    texts = [engine.prepare_text(source) for source in sources if isinstance(source, str)]
    tokens = sum(len(part) for parts in engine.towers.tokenizer().encode_parts(texts) for part in parts)
    data = [Embedding(index, _encoded(row, encoding)) for index, row in enumerate(rows)]
    return msgspec.json.encode(EmbeddingsAnswer(data, model_id(engine), Usage(tokens, tokens)))


def _encoded(row: FloatArray, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    numbers: list[float] = row.tolist()
    return numbers
