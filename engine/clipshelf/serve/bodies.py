"""Bodies of requests, read within limits: their size, the memory of all of them, and the time that they take."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.types import Scope

from clipshelf.serve.metrics import Metrics
from clipshelf.serve.operations import JSON
from clipshelf.serve.problems import ProblemError, overload
from clipshelf.serve.settings import Settings
from clipshelf.serve.waiting import ClientGoneError

# Less than the slowest of phones send.
_BYTES_PER_SECOND = 16 << 10
_HELD = "clipshelf.body_bytes"


def content_type(request: Request) -> str:
    """The media type of the body, in lower case, without parameters; empty where there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(found: str, expected: str) -> ProblemError:
    """The problem of a body of another type."""
    return ProblemError(415, None, f"Content-Type: expected {expected}, found {found or 'none'}")


class BodyReader:
    """Reads the bodies of requests.

    `held` is the number of bytes of all bodies that are in memory.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._limit = settings.body_limit
        self._memory = settings.body_memory
        self._timeout = settings.body_timeout
        self._metrics = metrics
        self.held = 0

    async def read_json(self, request: Request) -> bytes:
        """The body of a request, which must say that it is JSON; otherwise as `read`."""
        kind = content_type(request)
        if kind != JSON:
            raise unsupported(kind, JSON)
        return await self.read(request)

    async def read(self, request: Request) -> bytes:
        """The body of a request; its bytes count against the memory of all bodies until `release`.

        Raises ProblemError for one that is too large or too slow, and where there is no memory for it.
        """
        size = request.headers.get("content-length", "")
        if size.isdecimal() and int(size) > self._limit:
            raise self._too_large(f"{int(size)} bytes")
        parts: list[bytes] = []
        received, start = 0, time.monotonic()
        while True:
            patience = start + self._timeout + received / _BYTES_PER_SECOND - time.monotonic()
            try:
                message = await asyncio.wait_for(request.receive(), max(0.0, patience))
            except TimeoutError:
                self._metrics.shed.labels("slow-body").inc()
                raise ProblemError(
                    408,
                    "slow-body",
                    f"expected a body of at least {_BYTES_PER_SECOND} bytes per second, found {received} bytes in "
                    f"{time.monotonic() - start:.0f} seconds",
                    {"Connection": "close"},
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            received += len(part)
            if received > self._limit:
                raise self._too_large("more")
            self._hold(request.scope, len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self, scope: Scope) -> None:
        """Give back the memory of a request's body."""
        self.held -= scope.pop(_HELD, 0)

    def _hold(self, scope: Scope, size: int) -> None:
        if self.held + size > self._memory:
            self._metrics.shed.labels("memory").inc()
            raise overload(f"expected bodies of at most {self._memory} bytes at one time (--body-memory), found more")
        self.held += size
        scope[_HELD] = scope.get(_HELD, 0) + size

    def _too_large(self, found: str) -> ProblemError:
        self._metrics.shed.labels("body").inc()
        return ProblemError(
            413, "body-too-large", f"expected a body of at most {self._limit} bytes (--body-limit), found {found}"
        )
