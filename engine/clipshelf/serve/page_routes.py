"""The page, its files, and the description of the endpoints."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from importlib import resources

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from clipshelf.serve.docs_page import docs_page
from clipshelf.serve.openapi import document
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.responses import PAGE_HEADERS

_PAGE = "index.html"
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


class PageRoutes:
    """Handlers of what a browser shows."""

    async def index(self, request: Request) -> Response:
        """The page."""
        return _file(request, _PAGE)

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if name not in _files() or name == _PAGE:
            raise ProblemError(404, None, "expected a file of the page, found another name")
        return _file(request, name)

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document."""
        return _cacheable(request, _document(), "application/json")

    async def docs(self, request: Request) -> Response:
        """The OpenAPI document as a page."""
        return _cacheable(request, docs_page(msgspec.json.decode(_document())).encode(), "text/html; charset=utf-8")


@cache
def _files() -> dict[str, bytes]:
    """The files of the page by name."""
    folder = resources.files("clipshelf.serve").joinpath("page")
    return {
        entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file() and entry.name[0] not in "._"
    }


@cache
def _document() -> bytes:
    return msgspec.json.format(msgspec.json.encode(document()), indent=1)


def _file(request: Request, name: str) -> Response:
    suffix = name[name.rfind(".") :]
    media = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _cacheable(request, _files()[name], media)


def _cacheable(request: Request, content: bytes, media: str) -> Response:
    """Content that a browser keeps, and asks after."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {**PAGE_HEADERS, "ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media)
