"""The pictures of requests: decoded by a bounded number of threads, before their query waits for its batch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from clipshelf.errors import ImageError
from clipshelf.model.engine import Engine
from clipshelf.model.image import PreparedImage
from clipshelf.model.image_formats import UnknownFormatError
from clipshelf.model.image_limits import ImageLimits, LimitError
from clipshelf.model.image_sources import CroppedImage, read_encoded
from clipshelf.serve.metrics import Metrics
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.remote_images import RemoteImages

_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


# Pictures by URL that are in memory or on their way at one time; their bytes are no part of a body.
_REMOTE = 8


class QueryPictures:
    """Decodes the pictures of requests. A request with many has as many in work as there are decoders, so that another
    one waits for a few of them and not for all.

    - `limits`: what a picture may cost.
    - `pool`: the threads that decode, `decoders` of them.
    - `metrics`: counts pictures that cannot be used, by reason.
    - `remote`: fetches pictures by URL.
    """

    def __init__(
        self,
        limits: ImageLimits,
        pool: ThreadPoolExecutor,
        metrics: Metrics,
        remote: RemoteImages,
        *,
        decoders: int,
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._metrics = metrics
        self._remote = remote
        self._decoders = decoders
        self._remote_turns = asyncio.Semaphore(_REMOTE)

    def of_request(self, engine: Engine) -> RequestPictures:
        """Decodes the pictures of one request for a model."""
        return RequestPictures(self, engine, asyncio.Semaphore(self._decoders))

    async def encoded(self, picture: str) -> bytes:
        """The encoded bytes of a picture in text. Raises ProblemError."""
        source = await self._source(picture)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, read_encoded, source, self._limits)
        except ValueError as error:
            raise self._refused(error) from None

    async def prepare(self, engine: Engine, picture: str | bytes | CroppedImage) -> PreparedImage:
        """Decode a picture for a model, see `RequestPictures.prepare`."""
        whole = picture.source if isinstance(picture, CroppedImage) else picture
        if isinstance(whole, str) and _is_url(whole):
            async with self._remote_turns:
                return await self._decode(engine, picture, await self._source(whole))
        source = await self._source(whole) if isinstance(whole, str) else whole
        return await self._decode(engine, picture, source)

    async def _decode(self, engine: Engine, picture: str | bytes | CroppedImage, source: Any) -> PreparedImage:
        """Decode a picture whose bytes or data: URI are here."""
        if isinstance(picture, CroppedImage):
            source = CroppedImage(source, picture.box)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, engine.prepare_image, source)
        except ImageError as error:
            raise self._refused(error) from None

    async def _source(self, picture: str) -> bytes | str:
        """A picture in text as a data: URI, or the bytes of one by URL; never a path."""
        if picture[:5].lower() == "data:":
            return picture
        if not _is_url(picture):
            return f"data:;base64,{picture}"
        try:
            return await self._remote.fetch(picture)
        except ProblemError:
            self._metrics.bad_pictures.labels("url").inc()
            raise

    def _refused(self, error: Exception) -> ProblemError:
        self._metrics.bad_pictures.labels(_reason(error)).inc()
        return ProblemError(422, "bad-picture", f"image: {error}")


@dataclass(frozen=True)
class RequestPictures:
    """Decodes the pictures of one request, a few at a time.

    - `pictures`: who decodes.
    - `engine`: the model that will embed them.
    - `turns`: for as many pictures at a time.
    """

    pictures: QueryPictures
    engine: Engine
    turns: asyncio.Semaphore

    async def prepare(self, pictures: Sequence[str | bytes | CroppedImage]) -> list[PreparedImage]:
        """Decode n pictures.

        - `pictures`: bytes of files, data: URIs, base64, URLs of the hosts that are allowed, or a part of one of these.

        Raises ProblemError for the first one that cannot be used; the others are given up then.
        """
        tasks = [asyncio.ensure_future(self._prepare(picture)) for picture in pictures]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _prepare(self, picture: str | bytes | CroppedImage) -> PreparedImage:
        async with self.turns:
            return await self.pictures.prepare(self.engine, picture)


def _is_url(picture: str) -> bool:
    return picture[:5].lower() != "data:" and _URL.match(picture) is not None


def _reason(error: BaseException | None) -> str:
    """Why a picture cannot be used, in a word for the metrics: by the causes of an error."""
    while error is not None:
        if isinstance(error, LimitError):
            return "limit"
        if isinstance(error, UnknownFormatError):
            return "format"
        error = error.__cause__
    return "unreadable"
