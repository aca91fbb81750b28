"""Runs the service: uvicorn on one process."""

from __future__ import annotations

import logging

import uvicorn

from clipshelf.model.image_limits import ImageLimits
from clipshelf.serve.app import make_app
from clipshelf.serve.service import Service
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import ShelfKeeper


def image_limits(settings: Settings) -> ImageLimits:
    """What a picture of a request may cost."""
    return ImageLimits(encoded_bytes=settings.body_limit, pixels=settings.pixels, jpeg_pixels=settings.pixels)


def make_server(service: Service) -> uvicorn.Server:
    """The server of a service, which is not started."""
    settings = service.settings
    config = uvicorn.Config(
        make_app(service),
        host=settings.host,
        port=settings.port,
        http="h11",
        ws="none",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=round(settings.drain_timeout),
    )
    return uvicorn.Server(config)


def run(keeper: ShelfKeeper, settings: Settings, limits: ImageLimits) -> int:
    """Serve until the process is told to end, with pictures within `limits`; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    make_server(Service(keeper, settings, limits)).run()
    return 0
