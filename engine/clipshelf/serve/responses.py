"""What answers have in common."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.responses import Response

GENERATION, FINGERPRINT = "Clipshelf-Generation", "Clipshelf-Fingerprint"
MISSING_SHARDS = "Clipshelf-Missing-Shards"
# Pages load their own files and talk to their own service only. Photos of queries are blob: and data: URIs. No script
# may make HTML or code of a string.
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


def json_response(body: bytes | Struct, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """An answer in JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(content, status, headers=headers, media_type="application/json")
