"""What surrounds every request: the headers of all answers, problems for what failed, metrics and the log.

The log has no text, picture or id: only the operation, the status and the time.
"""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipshelf.serve.problems import ProblemError
from clipshelf.serve.responses import FINGERPRINT, GENERATION
from clipshelf.serve.service import Service
from clipshelf.serve.waiting import ClientGoneError

_log = logging.getLogger(__name__)
# What nginx logs for a client that closed its connection before the answer.
_CLIENT_GONE = 499
OPERATION = "clipshelf.operation"


class Frame:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Paths are matched as they were sent, so that a product's id may hold a slash.
        scope["path"] = scope["raw_path"].decode("ascii", "replace")
        exchange = _Exchange(scope, send, self._defaults())
        metrics = self._service.metrics
        try:
            with metrics.in_progress.track_inprogress():
                await self._answer(exchange, receive)
        finally:
            self._service.bodies.release(scope)
        seconds = time.perf_counter() - exchange.started
        operation = scope.get(OPERATION, "none")
        metrics.requests.labels(operation, str(exchange.status)).observe(seconds)
        _log.info("%s %s %d %.1f ms", scope["method"], operation, exchange.status, 1e3 * seconds)

    async def _answer(self, exchange: _Exchange, receive: Receive) -> None:
        try:
            await self._app(exchange.scope, receive, exchange.send)
        except ClientGoneError:
            exchange.status = _CLIENT_GONE
        except Exception as error:
            problem = error if isinstance(error, ProblemError) else self._failure(error)
            if not exchange.is_started:
                await problem.response()(exchange.scope, receive, exchange.send)

    def _failure(self, error: Exception) -> ProblemError:
        """The problem of an error that nobody expected. Its message may hold what the client sent: it stays untold."""
        self._service.metrics.failures.inc()
        frames = "".join(traceback.format_tb(error.__traceback__))
        _log.error("a request failed with %s:\n%s", type(error).__name__, frames)
        return ProblemError(500, None, "expected to answer, found an error of the service; its log says which")

    def _defaults(self) -> dict[str, str]:
        shelf = self._service.keeper.current
        return {
            GENERATION: str(shelf.generation),
            FINGERPRINT: shelf.recommender.engine.fingerprint,
            "X-Content-Type-Options": "nosniff",
            **({"Connection": "close"} if self._service.state == "draining" else {}),
        }


class _Exchange:
    """One request and its answer, whose status is noted and whose headers are completed."""

    def __init__(self, scope: Scope, send: Send, defaults: dict[str, str]) -> None:
        self.scope = scope
        self.started = time.perf_counter()
        self.status = 0
        self._send = send
        self._defaults = [(name.lower().encode(), value.encode()) for name, value in defaults.items()]

    @property
    def is_started(self) -> bool:
        """Whether the head of the answer was sent."""
        return self.status != 0

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[Any] = list(message.get("headers", ()))
            names = {name for name, _ in headers}
            message = {**message, "headers": headers + [pair for pair in self._defaults if pair[0] not in names]}
        await self._send(message)


def note_operation(request: Request, id_: str) -> None:
    """Say which operation a request turned out to be."""
    request.scope[OPERATION] = id_
