"""uvicorn's HTTP protocol with time limits: for the head of a request, and for a client to read its answer.

uvicorn itself waits for both as long as a client likes.
"""

from __future__ import annotations

import asyncio
import math
import socket
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from clipshelf.serve.problems import MEDIA_TYPE, ProblemError


def guarded(head_timeout: float, write_timeout: float, connections: int) -> type[H11Protocol]:
    """The protocol with these limits, in seconds; uvicorn makes one for each of `connections` at most."""

    class GuardedProtocol(H11Protocol):
        """Closes a connection that sends no complete head, or takes no answer, in time."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.access_log = False  # it would have the texts in addresses, wherever the program's log has a handler
            self._head_timer: asyncio.TimerHandle | None = None
            self._write_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.abort()
                return
            # asyncio does this only for sockets that it made itself. The head and the body of an answer are written one
            # after the other, and the second would wait for a delayed acknowledgement of the first.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_write_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_writing()

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.abort()
                return
            problem = ProblemError(400, None, f"expected an HTTP/1.1 request, found another form: {msg}").problem
            body = msgspec.json.encode(problem)
            headers = [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def resume_writing(self) -> None:
            self._stop_write_timer()
            super().resume_writing()

        def _watch_head(self) -> None:
            """Run the timer exactly while no request is in progress; data alone does not restart it."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_head_timer()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout, self.transport.abort)

        def _watch_writing(self, before: float = math.inf) -> None:
            """Look after each interval whether the client has taken a part of its answer."""
            size = self.transport.get_write_buffer_size()
            if size >= before:
                self.transport.abort()
            else:
                self._write_timer = self.loop.call_later(write_timeout, self._watch_writing, size)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _stop_write_timer(self) -> None:
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

    return GuardedProtocol
