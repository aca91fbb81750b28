"""Problem details (RFC 9457): what a request gets that cannot be answered."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from clipshelf.errors import ShardLost
from clipshelf.serve.schemas import Problem

MEDIA_TYPE = "application/problem+json"
# Titles that say more than the name of the status; the rest of the problem is in `detail`.
_TITLES = {
    "bad-json": "The body is not JSON",
    "bad-request": "The request does not have the expected form",
    "bad-query": "The query cannot be answered",
    "bad-picture": "The picture cannot be used",
    "bad-product": "The products cannot be stored",
    "body-too-large": "The body is too large",
    "slow-body": "The body came too slowly",
    "no-key": "A key is needed",
    "not-allowed": "The key does not allow this",
    "read-only": "The catalogue is read-only",
    "unknown-product": "There is no such product",
    "unknown-model": "There is no such model",
    "no-picture": "The product has no picture",
    "overload": "The service is busy",
    "rate": "Too many requests",
    "deadline": "The request took too long",
    "shard-lost": "A part of the catalogue does not answer",
    "locked": "The catalogue is being written",
    "wrong-host": "The service does not answer for this host",
}


class ProblemError(Exception):
    """A request that is answered with a problem.

    - `status`: the HTTP status.
    - `name`: the last part of the problem's type, a key of the titles above; None for a problem that the status says.
    - `detail`: what was expected and what came.
    - `headers`: further headers of the answer.
    """

    def __init__(self, status: int, name: str | None, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def problem(self) -> Problem:
        """The problem as it is sent."""
        if self.name is None:
            return Problem("about:blank", HTTPStatus(self.status).phrase, self.status, self.detail, self.detail)
        return Problem(f"/problems/{self.name}", _TITLES[self.name], self.status, self.detail, self.detail)

    def response(self) -> Response:
        """The answer."""
        return Response(msgspec.json.encode(self.problem), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def overload(detail: str, retry_after: float = 1.0) -> ProblemError:
    """The problem of a request that the service has no room for now; it may come again after `retry_after` seconds."""
    return ProblemError(503, "overload", detail, {"Retry-After": str(max(1, round(retry_after)))})


def shard_lost(error: ShardLost) -> ProblemError:
    """The problem of a request that needs products of a shard that does not answer now."""
    return ProblemError(503, "shard-lost", str(error), {"Retry-After": "2"})
