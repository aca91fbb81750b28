"""Bodies and parameters of requests to queries of the engine."""

from __future__ import annotations

from typing import Any

import msgspec

from clipshelf.errors import InputError
from clipshelf.model.image_sources import CroppedImage
from clipshelf.recommend.arguments import check_crop
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Query
from clipshelf.serve.inputs import parse_json
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.query_pictures import RequestPictures
from clipshelf.serve.schemas import QueryBody, QueryParameters, WeightsChange

_WEIGHTS = msgspec.json.Decoder(WeightsChange)
_SERVICE_FIELDS = ("image", "explain")


async def to_query(body: QueryBody | QueryParameters, pictures: RequestPictures, photo: bytes | None = None) -> Query:
    """The query of a request, with its pictures decoded.

    - `photo`: the picture that came as the body, beside its parameters.

    Raises ProblemError.
    """
    fields: dict[str, Any] = msgspec.to_builtins(body)
    if isinstance(body, QueryParameters):
        fields |= _of_parameters(body)
    profile = fields.pop("profile", None)
    sources = ([] if photo is None else [photo]) + _as_list(fields.get("image"))
    sources = _cropped(sources, fields.pop("crop", None)) + _as_list((profile or {}).pop("images", None))
    arguments = {name: value for name, value in fields.items() if value is not None and name not in _SERVICE_FIELDS}
    arguments["image"] = await pictures.prepare(sources)
    try:
        if profile is not None:
            given = {name: value for name, value in profile.items() if value is not None}
            arguments["profile"] = Profile.from_dict(given)
        return Query(**arguments)
    except InputError as error:
        raise ProblemError(422, "bad-query", str(error)) from None


def _cropped(pictures: list[Any], crop: Any) -> list[Any]:
    """A part of each picture, which is decoded with it; None for the whole."""
    try:
        return pictures if crop is None else [CroppedImage(picture, check_crop(crop)) for picture in pictures]
    except InputError as error:
        raise ProblemError(422, "bad-query", str(error)) from None


def _of_parameters(body: QueryParameters) -> dict[str, Any]:
    """What parameters of a URL say in text, as a body says it. Raises ProblemError."""
    fields: dict[str, Any] = {}
    if body.weights is not None:
        weights = _numbers("weights", _pairs("weights", body.weights))
        fields["weights"] = msgspec.to_builtins(parse_json(msgspec.json.encode(weights), _WEIGHTS))
    if body.boost is not None:
        fields["boost"] = _numbers("boost", _pairs("boost", body.boost))
    if body.fresh is not None:
        fields["fresh"] = _pairs("fresh", body.fresh)
    if body.crop is not None:
        edges = enumerate(body.crop.split(","))
        fields["crop"] = list(_numbers("crop", {str(position): edge for position, edge in edges}).values())
    return fields


def _pairs(name: str, text: str) -> dict[str, str]:
    """Names and values from text such as `text=1,image=0.5`. Raises ProblemError."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(sign and value.strip() for _, sign, value in pairs):
        raise ProblemError(422, "bad-query", f"{name}: expected NAME=VALUE,..., found {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _numbers(name: str, values: dict[str, str]) -> dict[str, float]:
    try:
        return {key: float(value) for key, value in values.items()}
    except ValueError as error:
        raise ProblemError(422, "bad-query", f"{name}: expected numbers, found: {error}") from None


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
