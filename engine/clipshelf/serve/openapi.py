"""The OpenAPI 3.1 document, generated from the operations and the structs that check the input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from clipshelf import __version__
from clipshelf.serve.operations import ALIASES, JSON, OPERATIONS, Operation
from clipshelf.serve.problems import MEDIA_TYPE
from clipshelf.serve.responses import FINGERPRINT, GENERATION, MISSING_SHARDS
from clipshelf.serve.schemas import Problem

_REFERENCE = "#/components/schemas/{name}"
_REASONS = {
    400: "The request is not well formed.",
    401: "No key, or an unknown one.",
    403: "The key does not allow this, or the catalogue is read-only.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body has a type that is not taken.",
    421: "The service does not answer for this host.",
    422: "The request is well formed and cannot be fulfilled.",
    429: "More requests than the key may send; Retry-After says when to come again.",
    500: "The service failed.",
    503: "The service is busy, starting or draining; Retry-After says when to come again.",
    504: "The request took longer than it may.",
}
_ANY_REQUEST, _ANY_KEYED_REQUEST = (421, 500, 503), (401, 429)


def document() -> dict[str, Any]:
    """The document as plain values."""
    structs = {struct for operation in OPERATIONS for struct in _structs(operation)}
    _, components = msgspec.json.schema_components(sorted(structs, key=lambda s: s.__name__), ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    by_id = {operation.id: operation for operation in OPERATIONS}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, operation.id)
    for path, id_ in ALIASES.items():
        paths[path] = {by_id[id_].method.lower(): _operation(by_id[id_], f"{id_}_v2")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clipshelf",
            "version": __version__,
            "summary": "Product recommendations from pictures and words.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where the service was started with --keys."}
            },
        },
    }


def _structs(operation: Operation) -> Iterator[type[Struct]]:
    yield from (struct for struct in (operation.answer, operation.body) if struct is not None)
    yield Problem


def _operation(operation: Operation, id_: str) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": id_, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    if parameters := [*_path_parameters(operation), *_query_parameters(operation)]:
        described["parameters"] = parameters
    if operation.body is not None:
        content: dict[str, Any] = {JSON: {"schema": _reference(operation.body)}}
        if operation.takes_picture:
            content["image/*"] = {"schema": {"type": "string", "contentMediaType": "image/*"}}
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = _responses(operation)
    described["security"] = [{}] if operation.is_public else [{"key": []}, {}]
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    schema = {"type": "string"} if operation.answer is None else _reference(operation.answer)
    headers: dict[str, Any] = {
        GENERATION: {"description": "The generation of the catalogue.", "schema": {"type": "string"}},
        FINGERPRINT: {"description": "The model.", "schema": {"type": "string"}},
    }
    if operation.tag == "recommendations":
        headers[MISSING_SHARDS] = {
            "description": "Only where an answer is partial: numbers of the shards whose products it lacks.",
            "schema": {"type": "string"},
        }
    good = {"description": "The answer.", "headers": headers, "content": {operation.media: {"schema": schema}}}
    statuses = {*operation.problems, *_ANY_REQUEST, *(() if operation.is_public else _ANY_KEYED_REQUEST)}
    problem = {MEDIA_TYPE: {"schema": _reference(Problem)}}
    problems = {str(status): {"description": _REASONS[status], "content": problem} for status in sorted(statuses)}
    return {"200": good, **problems}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.parameters is None:
        return []
    schema = msgspec.json.schema(operation.parameters)["$defs"][operation.parameters.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema["required"],
            **({"description": field["description"]} if "description" in field else {}),
            "schema": {key: value for key, value in field.items() if key != "description"},
        }
        for name, field in schema["properties"].items()
    ]


def _reference(struct: type[Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=struct.__name__)}
