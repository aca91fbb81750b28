"""The pictures of requests: decoded by a bounded number of threads, before their query waits for its batch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

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


class QueryPictures:
    """Decodes the pictures of requests.

    - `engine`: whose pictures they become.
    - `limits`: what a picture may cost.
    - `pool`: the threads that decode; their number is the cap on decoders.
    - `metrics`: counts pictures that cannot be used, by reason.
    - `remote`: fetches pictures by URL.
    """

    def __init__(
        self, engine: Engine, limits: ImageLimits, pool: ThreadPoolExecutor, metrics: Metrics, remote: RemoteImages
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._pool = pool
        self._metrics = metrics
        self._remote = remote

    async def prepare(self, pictures: Sequence[str | bytes | CroppedImage]) -> list[PreparedImage]:
        """Decode n pictures.

        - `pictures`: bytes of files, data: URIs, base64, URLs of the hosts that are allowed, or a part of one of these.

        Raises ProblemError for the first one that cannot be used.
        """
        return list(await asyncio.gather(*map(self._prepare, pictures)))

    async def encoded(self, picture: str) -> bytes:
        """The encoded bytes of a picture in text. Raises ProblemError."""
        source = await self._source(picture)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, read_encoded, source, self._limits)
        except ValueError as error:
            raise self._refused(error) from None

    async def _prepare(self, picture: str | bytes | CroppedImage) -> PreparedImage:
        source: bytes | str | CroppedImage = picture
        if isinstance(picture, str):
            source = await self._source(picture)
        elif isinstance(picture, CroppedImage) and isinstance(picture.source, str):
            source = CroppedImage(await self._source(picture.source), picture.box)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._engine.prepare_image, source)
        except ImageError as error:
            raise self._refused(error) from None

    async def _source(self, picture: str) -> bytes | str:
        """A picture in text as a data: URI, or the bytes of one by URL; never a path."""
        if picture[:5].lower() == "data:":
            return picture
        if not _URL.match(picture):
            return f"data:;base64,{picture}"
        try:
            return await self._remote.fetch(picture)
        except ProblemError:
            self._metrics.bad_pictures.labels("url").inc()
            raise

    def _refused(self, error: Exception) -> ProblemError:
        self._metrics.bad_pictures.labels(_reason(error)).inc()
        return ProblemError(422, "bad-picture", f"image: {error}")


def _reason(error: BaseException | None) -> str:
    """Why a picture cannot be used, in a word for the metrics: by the causes of an error."""
    while error is not None:
        if isinstance(error, LimitError):
            return "limit"
        if isinstance(error, UnknownFormatError):
            return "format"
        error = error.__cause__
    return "unreadable"
