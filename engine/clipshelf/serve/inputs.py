"""Requests to typed structs: parameters of the URL and bodies, checked by the definitions that OpenAPI shows."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import Request

from clipshelf.serve.problems import ProblemError

Parsed = TypeVar("Parsed", bound=Struct)

# msgspec's messages: what is wrong, and the path to it.
_MESSAGE = re.compile(r"(?P<problem>.*?)(?: - at `(?:key` in `)?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)


def parse_json(body: bytes, decoder: msgspec.json.Decoder[Parsed]) -> Parsed:
    """The struct that a body holds. Raises ProblemError."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ProblemError(422, "bad-request", explain(error, "body")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, "bad-json", f"body: expected JSON, found: {error}") from None
    except RecursionError:
        raise ProblemError(400, "bad-json", "body: expected JSON of fewer levels, found too many") from None


def parse_parameters(request: Request, kind: type[Parsed]) -> Parsed:
    """The struct that the parameters of a URL hold; those of lists may be repeated. Raises ProblemError."""
    lists = {field.name for field in msgspec.structs.fields(kind) if field.default_factory is list}
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise ProblemError(422, "bad-request", f"{name}: expected one value, found several")
        else:
            values[name] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(422, "bad-request", explain(error, "parameters")) from None


def explain(error: msgspec.ValidationError, whole: str) -> str:
    """A message of msgspec in the words of ours; `whole` names the input where the message has no path."""
    match = _MESSAGE.fullmatch(str(error))
    problem, path = (match["problem"], match["path"]) if match else (str(error), None)
    problem = problem[:1].lower() + problem[1:].replace("`", "").replace(", got ", ", found ")
    return f"{path or whole}: {problem}"
