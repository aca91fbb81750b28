"""The endpoints that watch the service."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.serve.problems import overload
from clipshelf.serve.responses import json_response
from clipshelf.serve.schemas import Health
from clipshelf.serve.service import Service


class HealthRoutes:
    """Handlers of health and metrics."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def live(self, _: Request) -> Response:
        """The loop runs, or this would not be answered."""
        return json_response(Health("live"))

    async def ready(self, _: Request) -> Response:
        """Whether the towers are warm and the service does not drain."""
        if self._service.state != "ready":
            raise overload(f"expected a service that is ready, found one that is {self._service.state}")
        return json_response(Health("ready"))

    async def metrics(self, _: Request) -> Response:
        """The metrics for Prometheus."""
        return Response(self._service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
