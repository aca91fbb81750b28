"""Who may come in: the host that a request names, its key, its rate, and room for one more request."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from clipshelf.serve.auth import Key
from clipshelf.serve.operations import ALIASES, OPERATIONS
from clipshelf.serve.problems import ProblemError, overload
from clipshelf.serve.service import Service
from clipshelf.serve.settings import is_loopback

_CALLER = "clipshelf.caller"
# Whatever is not named here needs a key, unknown paths too.
_PUBLIC = {"/", "/docs", "/openapi.json", *ALIASES, *(each.path for each in OPERATIONS if each.is_public)}
_PUBLIC_FILES = "/static/"


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    - `name`: of the key, or the address.
    - `key`: None for a service without keys.
    """

    name: str
    key: Key | None

    @property
    def may_write(self) -> bool:
        """Whether the key allows changes; without keys, everybody who reaches the service may."""
        return self.key is None or self.key.may_write


class Gate:
    """The layer that lets requests in, and refuses others before their body is read."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            counted = self._admit(scope)
        except ProblemError as problem:
            await problem.response()(scope, receive, send)
            return
        self._in_progress += counted
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_progress -= counted

    def _admit(self, scope: Scope) -> bool:
        """Check a request; whether it counts as one in progress. Raises ProblemError."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        path: str = scope["path"]
        if path in _PUBLIC or path.startswith(_PUBLIC_FILES):
            return False
        self._check_connections()
        caller = scope[_CALLER] = self._caller(scope, headers)
        self._service.rates.take(caller.name, rate=caller.key.rate if caller.key else None)
        most = self._service.settings.requests
        if self._in_progress >= most:
            self._service.metrics.shed.labels("requests").inc()
            raise overload(f"expected at most {most} requests at one time (--requests), found more")
        return True

    def _check_connections(self) -> None:
        """Refuse a request where there are too many connections, and close its own."""
        most = self._service.settings.connections
        if len(self._service.connections) > most:
            self._service.metrics.shed.labels("connections").inc()
            problem = overload(f"expected at most {most} connections at one time, found more")
            problem.headers["Connection"] = "close"
            raise problem

    def _check_host(self, headers: Headers) -> None:
        """Refuse a page that reaches a service without keys by a name that it made point to the loopback."""
        if self._service.keys is None and not is_loopback(_host_name(headers.get("host", ""))):
            raise ProblemError(
                421,
                "wrong-host",
                "Host: expected localhost or a loopback address for a service without keys, found another",
            )

    def _caller(self, scope: Scope, headers: Headers) -> Caller:
        if self._service.keys is None:
            client = scope.get("client")
            return Caller(client[0] if client else "unknown", None)
        key = self._service.keys.find(headers.get("authorization", ""))
        if key is None:
            self._service.metrics.shed.labels("key").inc()
            raise ProblemError(
                401,
                "no-key",
                "Authorization: expected Bearer and a key of this service, found none or another",
                {"WWW-Authenticate": "Bearer"},
            )
        return Caller(key.name, key)


def caller_of(request: Request) -> Caller:
    """Who sent a request that passed the gate."""
    caller: Caller = request.scope[_CALLER]
    return caller


def count_more(request: Request, service: Service, items: int) -> None:
    """Count a request of n items as n requests. Raises ProblemError where the caller has used up its own."""
    caller = caller_of(request)
    if items > 1:
        service.rates.take(caller.name, items - 1, caller.key.rate if caller.key else None)


def _host_name(host: str) -> str:
    """The name or address in a header Host, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
