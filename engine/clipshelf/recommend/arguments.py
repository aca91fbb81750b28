"""Checks of the arguments of queries and profiles. Each returns the value in its final form or raises InputError."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Real
from typing import Any, TypeAlias

from clipshelf.catalogue.ids import has_surrogate, product_id
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.types import ImageSource

# A product id, or one with its strength.
Like: TypeAlias = str | int | tuple[str | int, float]
# Product ids, each with a strength above 0 where it is not 1.
Likes: TypeAlias = Iterable[Like] | Mapping[str, float]
Texts: TypeAlias = str | Sequence[str]
Images: TypeAlias = ImageSource | Sequence[ImageSource]

MAX_TEXT = 100_000  # characters of a text
MAX_ITEMS = 1000  # texts of a query, and pictures of a query
MAX_COLUMNS = 100  # that boost a query
# Strengths and weights. Sums and products of such numbers stay finite and keep their digits in float64.
LEAST, MOST = 1e-9, 1e9


def check_object(name: str, kind: type, data: Any) -> Mapping[str, Any]:
    """`data`, a mapping whose keys are all names of arguments of the dataclass `kind`."""
    names = [field.name for field in fields(kind) if field.init]
    if not isinstance(data, Mapping) or set(data) - set(names):
        found = describe(sorted(set(data) - set(names), key=repr)) if isinstance(data, Mapping) else type(data).__name__
        raise InputError(f"{name}: expected an object with {', '.join(names)}, found {found}")
    return data


def check_iterable(name: str, items: Any) -> Iterable[Any]:
    """`items`, which can be iterated over and are no string; nothing for None."""
    if isinstance(items, (str, bytes)) or not isinstance(items, (Iterable, type(None))):
        raise InputError(f"{name}: expected a sequence, found one {type(items).__name__}")
    return () if items is None else items


def check_mapping(name: str, items: Any) -> Mapping[str, Any]:
    """`items`, a mapping with names of columns as its keys; an empty one for None."""
    if items is None:
        return {}
    if not isinstance(items, Mapping) or not all(isinstance(key, str) for key in items):
        raise InputError(f"{name}: expected an object with names of columns, found {type(items).__name__}")
    if len(items) > MAX_COLUMNS:
        raise InputError(f"{name}: expected at most {MAX_COLUMNS} columns, found {len(items):,}")
    return items


def check_boosts(items: Any) -> dict[str, float]:
    """Weights by column, each 0 or a number whose size is from `LEAST` to `MOST`."""
    boosts = check_mapping("boost", items)
    for name, weight in boosts.items():
        if not is_number(weight) or not (weight == 0 or LEAST <= abs(weight) <= MOST):
            raise InputError(
                f"boost: {describe(name)}: expected 0 or a weight from {LEAST:g} to {MOST:g}, or as much below 0, "
                f"found {describe(weight)}"
            )
    return {name: float(weight) for name, weight in boosts.items()}


def check_crop(box: Any) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, each from 0 to 1, right and bottom above left and top."""
    edges = list(box) if isinstance(box, (list, tuple)) else []
    if len(edges) == 4 and all(is_number(edge) and 0 <= edge <= 1 for edge in edges):
        left, top, right, bottom = map(float, edges)
        if left < right and top < bottom:
            return left, top, right, bottom
    raise InputError(
        f"crop: expected left, top, right, bottom in fractions from 0 to 1, such as [0.25, 0, 0.75, 1], "
        f"found {describe(box)}"
    )


def check_grouping(column: Any, members: Any) -> None:
    """Raise InputError unless `column` is a name or None, and `members` a number of products."""
    if not isinstance(column, (str, type(None))):
        raise InputError(f"group_by: expected the name of a column, found {describe(column)}")
    if isinstance(members, bool) or not isinstance(members, int) or not 0 <= members <= MAX_ITEMS:
        raise InputError(f"group_members: expected a number from 0 to {MAX_ITEMS:,}, found {describe(members)}")
    if members and column is None:
        raise InputError("group_members: expected group_by beside it, found none")


def check_count(name: str, items: list[Any]) -> list[Any]:
    """`items`, of which there are at most `MAX_ITEMS`."""
    if len(items) > MAX_ITEMS:
        raise InputError(f"{name}: expected at most {MAX_ITEMS:,} of a query and its profile, found {len(items):,}")
    return items


def check_text(text: Any) -> str:
    """`text`, a string of Unicode text that is not blank and not longer than `MAX_TEXT`."""
    if not isinstance(text, str):
        raise InputError(f"text: expected str, found {type(text).__name__} {describe(text)}")
    if len(text) > MAX_TEXT:
        raise InputError(f"text: expected at most {MAX_TEXT:,} characters, found {len(text):,}")
    if not text.strip():
        raise InputError("text: expected words, found a blank string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"text: expected Unicode text, found a lone surrogate at {error.start} of {describe(text)}"
        ) from None
    return text


def check_product_id(name: str, id_: Any) -> str:
    """The product id that `id_` stands for."""
    if type(id_) is str and id_.isascii():
        return id_
    if id_ is None or isinstance(id_, (bool, bytes, Mapping)) or (isinstance(id_, Iterable) and not _is_text(id_)):
        raise InputError(f"{name}: expected a product id, found {type(id_).__name__} {describe(id_)}")
    try:
        return product_id(id_)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def check_path(name: str, path: Any) -> str:
    """A path as a string."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"{name}: expected a path, found {type(path).__name__}")
    return str(path)


def check_no_path(name: str, image: Any) -> Any:
    """`image`, which names no file: bytes, a picture in memory, or a string that is a data: URI."""
    is_data = isinstance(image, str) and image[:5].lower() == "data:"
    if isinstance(image, (str, os.PathLike, Mapping)) and not is_data:
        raise InputError(
            f"{name}: expected a picture as a data: URI, found {describe(image)}; "
            "allow_paths=True lets JSON name files of this machine"
        )
    return image


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """`value` as a float from `least` to `most`, both included."""
    if not is_number(value) or not least <= value <= most:
        raise InputError(f"{name}: expected a number from {least:g} to {most:g}, found {describe(value)}")
    return float(value)


def strengths(name: str, items: Likes) -> dict[str, float]:
    """Ids with strengths from ids and (id, strength) pairs; the strengths of an id that comes twice add up."""
    strength_of: dict[str, float] = {}
    for item in items.items() if isinstance(items, Mapping) else check_iterable(name, items):
        is_id = not isinstance(item, Sequence) or isinstance(item, (str, bytes))
        id_, strength = (item, 1.0) if is_id else _id_and_strength(name, item)
        checked = check_product_id(name, id_)
        strength_of[checked] = strength_of.get(checked, 0.0) + strength
    return strength_of


def is_number(value: Any) -> bool:
    """Whether `value` is a real number that a float can hold: infinity is one, NaN and bool are none."""
    # Asking the abstract class is slow, so the usual types are compared first.
    if type(value) not in (float, int) and (isinstance(value, bool) or not isinstance(value, Real)):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:  # an int of more than 308 digits
        return False


def _is_text(value: Any) -> bool:
    """Whether `value` is a string of Unicode text, without a lone surrogate."""
    return isinstance(value, str) and not has_surrogate(value)


def _id_and_strength(name: str, item: Sequence[Any]) -> tuple[Any, float]:
    if len(item) != 2:
        raise InputError(f"{name}: expected an id or (id, strength), found {describe(item)}")
    id_, strength = item
    if not is_number(strength) or not LEAST <= strength <= MOST:
        range_ = f"; from {LEAST:g} to {MOST:g} they add up exactly" if is_number(strength) and strength > 0 else ""
        raise InputError(f"{name}: expected a strength above 0 for {describe(id_)}, found {describe(strength)}{range_}")
    return id_, float(strength)
