"""Works for a request as long as its client waits, and until its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from clipshelf.serve.problems import ProblemError

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """The client closed its connection before its answer was there."""


def always() -> bool:
    """Let work be given up at any time."""
    return True


async def within(
    request: Request, work: Coroutine[Any, Any, Result], seconds: float, give_up: Callable[[], bool] = always
) -> Result:
    """What a coroutine returns, which works as long as the client stays, and for `seconds` at most.

    - `give_up`: called after that; where it returns False, the work is waited for after all.

    Otherwise it is cancelled: what it waits for and has not begun, such as pictures and queries, is not computed.
    Raises what the coroutine raises, ClientGoneError and ProblemError.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        waited: list[asyncio.Future[Any]] = [working, gone]
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done() or not give_up():
            return await working
        if gone.done():
            raise ClientGoneError
        raise ProblemError(504, "deadline", "expected an answer before the deadline (--deadline), found none yet")
    finally:
        gone.cancel()
        working.cancel()


async def _disconnected(request: Request) -> None:
    """Return when the client has gone; its body, if there is one, was read before or is of no interest."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
