"""Runs the service: one process of uvicorn, which drains when it is told to end."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from types import FrameType

import uvicorn

from clipshelf.model.image_limits import ImageLimits
from clipshelf.serve.app import make_app
from clipshelf.serve.protocol import guarded
from clipshelf.serve.service import Service
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import Keeper

_log = logging.getLogger(__name__)
# Seconds for threads that still compute after the last request was given up. What they would write is a transaction.
LAST_SECONDS = 2.0
_DECODING_SECONDS = 4.0  # of a CPU for one picture
_BACKLOG = 1024  # connections
# Connections that are accepted, as a multiple of those that get answers: the others are told to come again.
_ACCEPTED = 2
_OTHER_FILES = 256


class Server(uvicorn.Server):
    """A server that says that it is not ready for a while before it stops to listen."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        service.connections = self.server_state.connections
        self._end = math.inf  # of the drain's delay, by time.monotonic

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log where."""
        await super().startup(sockets)
        if self.started:
            settings = self._service.settings
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            _log.info("serving %d products at http://%s", len(self._service.keeper.current), address)
            if settings.keys is None and settings.writable:
                _log.warning("every program of this machine may change products: --keys FILE says who may")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to drain; a second signal ends the delay, and a third one the requests in progress."""
        if self.should_exit:
            self.force_exit = True
        elif self._service.state == "draining":
            self._end = 0.0
        else:
            self._service.drain()
            self._end = time.monotonic() + self._service.settings.drain_delay

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop listening."""
        if time.monotonic() >= self._end:
            self.should_exit = True
        return await super().on_tick(counter)


def image_limits(settings: Settings) -> ImageLimits:
    """What a picture of a request may cost."""
    return ImageLimits(
        encoded_bytes=settings.body_limit,
        pixels=settings.pixels,
        jpeg_pixels=settings.pixels,
        seconds=_DECODING_SECONDS,
    )


def make_server(service: Service) -> Server:
    """The server of a service, which is not started."""
    settings = service.settings
    config = uvicorn.Config(
        make_app(service),
        http=guarded(settings.head_timeout, settings.write_timeout, _ACCEPTED * settings.connections),
        ws="none",
        access_log=False,
        server_header=False,
        log_config=None,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout),
    )
    return Server(config, service)


def allow_files(count: int) -> None:
    """Let this process open `count` files, or as many as the system lets it, since each connection is one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises OSError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        error.filename = f"{host}:{port}"
        raise


def run(keeper: Keeper, settings: Settings, limits: ImageLimits) -> int:
    """Serve until the process is told to end, and end it then; see `answer_requests`. Returns the exit code."""
    answer_requests(keeper, settings, limits)
    end_soon()
    return 0


def answer_requests(keeper: Keeper, settings: Settings, limits: ImageLimits) -> None:
    """Serve until the process is told to end, with pictures within `limits`.

    Raises OSError where it cannot listen.
    """
    log_requests()
    allow_files(_ACCEPTED * settings.connections + _OTHER_FILES)
    with listen(settings.host, settings.port) as listener:
        make_server(Service(keeper, settings, limits)).run([listener])


def log_requests() -> None:
    """Write the log of the service to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Its warnings are about single requests, of which anybody can send many.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def end_soon(seconds: float = LAST_SECONDS) -> None:
    """End the process within seconds, whatever its threads do.

    Python waits for the threads of its pools, and an inference or a picture in work may take long.
    """
    last = threading.Timer(seconds, os._exit, [0])
    last.daemon = True
    last.start()
