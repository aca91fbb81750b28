"""Waits for results as long as the client does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from starlette.requests import Request

from clipshelf.serve.problems import ProblemError

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """The client closed its connection before its answer was there."""


async def wait_for(
    request: Request, futures: Sequence[asyncio.Future[Result]], seconds: float
) -> list[Result | BaseException]:
    """Wait for n futures, as long as the client stays, and for `seconds` at most.

    Returns for each its result or its exception. Otherwise the futures are cancelled, so that what has not begun is not
    computed, and ClientGoneError or ProblemError is raised.
    """
    results: asyncio.Future[list[Result | BaseException]] = asyncio.gather(*futures, return_exceptions=True)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        waited: list[asyncio.Future[Any]] = [results, gone]
        await asyncio.wait(waited, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        if results.done():
            return results.result()
        if gone.done():
            raise ClientGoneError
        raise ProblemError(504, "deadline", "expected an answer before the deadline (--deadline), found none yet")
    finally:
        gone.cancel()
        if not results.done():
            for future in futures:
                future.cancel()


def require(results: Sequence[Result | BaseException]) -> list[Result]:
    """The results where all of them are there. Raises the first exception among them."""
    good: list[Result] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        good.append(result)
    return good


async def _disconnected(request: Request) -> None:
    """Return when the client has gone; its body, if there is one, was read before or is of no interest."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
