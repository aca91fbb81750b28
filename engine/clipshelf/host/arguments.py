"""The arguments of the C interface as Python takes them: pictures in memory, JSON, limits."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from clipshelf.errors import InputError
from clipshelf.json_parsing import parse_json
from clipshelf.model.image_limits import ImageLimits, default_limits
from clipshelf.recommend.query import Query

# `clipshelf_format` of clipshelf.h: Pillow's mode, and the layouts of its raw decoder that fill the mode in turn.
_LAYOUTS = {
    1: ("RGB", ("RGB",)),
    2: ("RGB", ("BGR",)),
    3: ("RGBA", ("RGBA",)),
    4: ("RGBA", ("BGRA",)),
    5: ("RGB", ("R", "G", "B")),  # a gray picture fills each band
}
_OPAQUE = {"RGBA": "RGBX", "BGRA": "BGRX"}

Parsed = TypeVar("Parsed", dict[str, Any], list[dict[str, Any]])

Picture: TypeAlias = tuple[Any, int, int, int, int]  # data, layout, width, height and stride


def image(data: Any, layout: int, width: int, height: int, stride: int) -> bytes | Image.Image:
    """A picture as the engine takes it: the bytes of a file (layout 0), or one copy of raw pixels."""
    if not layout:
        return bytes(data)
    mode, bands = _LAYOUTS[layout]
    if mode == "RGBA":
        alpha = np.ndarray((height, width), np.uint8, data, offset=3, strides=(stride, 4))
        if alpha.min() == 255:
            mode, bands = "RGB", (_OPAQUE[bands[0]],)
    image = Image.new(mode, (width, height), None)
    for band in bands:
        image.frombytes(data, "raw", band, stride, 1)
    return image


def query_of(arguments: dict[str, Any], more: str | None) -> tuple[Query, bool]:
    """The query, and whether its answer is explained."""
    query = {} if more is None else _parse("json", more, dict, "a JSON object")
    explain = query.pop("explain", False)
    duplicates = sorted(set(query) & set(arguments))
    if duplicates:
        raise InputError(f"json: expected names that the query doesn't set itself, found {', '.join(duplicates)}")
    if "image" in arguments:
        arguments["image"] = image(*arguments["image"])
    return Query.from_dict({**query, **arguments}), bool(explain)


def image_limits(text: str) -> ImageLimits:
    """The limits of a JSON object with the fields of `ImageLimits`. Raises InputError."""
    return default_limits().with_values(_parse("limits", text, dict, "a JSON object"))


def products_of(text: str) -> list[dict[str, Any]]:
    """The products of a JSON array of objects. Raises InputError."""
    return _parse("products", text, list, "a JSON array of objects")


def _parse(name: str, text: str, kind: type[Parsed], expected: str) -> Parsed:
    """The value of a JSON text, which must be of a kind. Raises InputError."""
    try:
        data = parse_json(text)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except ValueError as error:
        raise InputError(f"{name}: expected {expected}, found: {error}") from error
    if not isinstance(data, kind):
        raise InputError(f"{name}: expected {expected}, found {type(data).__name__}")
    return data
