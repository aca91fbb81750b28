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
from clipshelf.model.image_limits import LimitError
from clipshelf.model.image_sources import CroppedImage
from clipshelf.serve.metrics import Metrics
from clipshelf.serve.problems import ProblemError

_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class QueryPictures:
    """Decodes the pictures of requests.

    - `engine`: whose pictures they become.
    - `pool`: the threads that decode; their number is the cap on decoders.
    - `metrics`: counts pictures that cannot be used, by reason.
    """

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor, metrics: Metrics) -> None:
        self._engine = engine
        self._pool = pool
        self._metrics = metrics

    async def prepare(self, pictures: Sequence[str | bytes | CroppedImage]) -> list[PreparedImage]:
        """Decode n pictures.

        - `pictures`: bytes of files, data: URIs or base64, or a part of one of these.

        Raises ProblemError for the first one that cannot be used.
        """
        return list(await asyncio.gather(*map(self._prepare, pictures)))

    async def _prepare(self, picture: str | bytes | CroppedImage) -> PreparedImage:
        if isinstance(picture, str):
            picture = self._uri(picture)
        elif isinstance(picture, CroppedImage) and isinstance(picture.source, str):
            picture = CroppedImage(self._uri(picture.source), picture.box)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._engine.prepare_image, picture)
        except ImageError as error:
            self._metrics.bad_pictures.labels(_reason(error)).inc()
            raise ProblemError(422, "bad-picture", f"image: {error}") from None

    def _uri(self, text: str) -> str:
        """A picture in text as a data: URI."""
        if text[:5].lower() == "data:":
            return text
        if _URL.match(text):
            self._metrics.bad_pictures.labels("url").inc()
            raise ProblemError(
                422,
                "bad-picture",
                "image: expected a data: URI or base64, found a URL, which is fetched only from --image-hosts",
            )
        return f"data:;base64,{text}"


def _reason(error: ImageError) -> str:
    cause = error.__cause__
    if isinstance(cause, LimitError):
        return "limit"
    return "format" if isinstance(cause, UnknownFormatError) else "broken"
