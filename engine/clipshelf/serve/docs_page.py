"""The OpenAPI document as a page that needs neither a script nor the network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/static/docs.css">
</head>
<body>
<main>
<h1>{title}</h1>
<p>{summary} The same as a document for programs: <a href="/openapi.json">openapi.json</a>.</p>
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    info = document["info"]
    head = _HEAD.format(title=escape(f"{info['title']} {info['version']}"), summary=escape(info["summary"]))
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [head, *_contents(operations)]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'].capitalize())}</h2>")
        parts += [_operation(path, method, op) for path, method, op in operations if tag["name"] in op["tags"]]
    parts.append('<h2 id="schemas">Schemas</h2>')
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "\n".join([*parts, "</main>", "</body>", "</html>", ""])


def _contents(operations: Sequence[tuple[str, str, Any]]) -> Iterator[str]:
    yield '<nav aria-label="Endpoints"><ul>'
    for path, method, operation in operations:
        yield (
            f'<li><a href="#{escape(operation["operationId"])}"><b>{method.upper()}</b> <code>{escape(path)}</code></a>'
            f" {escape(operation['summary'])}</li>"
        )
    yield "</ul></nav>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<section id="{escape(operation["operationId"])}">',
        f"<h3><b>{method.upper()}</b> <code>{escape(path)}</code></h3>",
        f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>",
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (parameter["name"], parameter["in"], _type(parameter["schema"]), parameter.get("description", ""))
            for parameter in parameters
        ]
        parts.append(_table(("parameter", "in", "type", ""), rows))
    if body := operation.get("requestBody"):
        media_types = (f"<code>{escape(media)}</code> {_type(c['schema'])}" for media, c in body["content"].items())
        parts.append(f"<p>Body: {' or '.join(media_types)}</p>")
    statuses: list[tuple[str, ...]] = []
    for status, response in operation["responses"].items():
        types = ", ".join(
            f"{escape(media)} {_type(content['schema'])}" for media, content in response["content"].items()
        )
        statuses.append((status, response["description"], types))
    parts.append(_table(("status", "meaning", "content"), statuses, last_is_html=True))
    return "\n".join([*parts, "</section>"])


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    parts = [f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>']
    if "description" in schema:
        parts.append(f"<p>{escape(schema['description'])}</p>")
    if properties := schema.get("properties"):
        rows = []
        for field, value in properties.items():
            required = "required" if field in schema.get("required", ()) else ""
            if not required and value.get("default") is not None:
                required = f"default {json.dumps(value['default'])}"
            rows.append((field, value.get("description", ""), required, _type(value)))
        parts.append(_table(("field", "", "", "type"), rows, last_is_html=True))
    else:
        parts.append(f"<p>{_type(schema)}</p>")
    return "\n".join([*parts, "</section>"])


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, last_is_html: bool = False) -> str:
    """A table; cells are plain text, but where the types stand, which have links."""
    lines = [f"<table><thead><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr></thead><tbody>"]
    for row in rows:
        html = {len(row) - 1} if last_is_html else {heads.index("type")} if "type" in heads else set()
        cells = (cell if i in html else escape(cell) for i, cell in enumerate(row))
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words of HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return escape(", ".join(json.dumps(value) for value in schema["enum"]))
    kind = schema.get("type", "anything")
    if kind == "array" and "prefixItems" in schema:
        return f"[{', '.join(map(_type, schema['prefixItems']))}]"
    if kind == "array" and "items" in schema:
        text = f"list of {_type(schema['items'])}"
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        text = f"object of {_type(schema['additionalProperties'])}"
    else:
        text = escape(kind)
    return text + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    words = {
        "minimum": "from {}",
        "maximum": "to {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {:,} characters",
        "minItems": "at least {}",
        "maxItems": "at most {:,}",
    }
    limits = [
        text.format(schema[name]) for name, text in words.items() if name in schema and "prefixItems" not in schema
    ]
    return escape(f" ({', '.join(limits)})") if limits else ""
