"""Checks of the arguments of queries and profiles. Each returns the value in its final form or raises InputError."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from numbers import Real
from typing import Any, TypeAlias

from clipshelf.errors import InputError
from clipshelf.types import ImageSource

# Seconds since 1970, an ISO 8601 string or a datetime; UTC where no zone is given.
Time: TypeAlias = float | str | datetime
Like: TypeAlias = str | tuple[str, float]
# Product ids, each with a strength above 0 where it is not 1.
Likes: TypeAlias = Iterable[Like] | Mapping[str, float]
Texts: TypeAlias = str | Sequence[str]
Images: TypeAlias = ImageSource | Sequence[ImageSource]


def check_object(name: str, kind: type, data: Any) -> Mapping[str, Any]:
    """`data`, a mapping whose keys are all names of arguments of the dataclass `kind`."""
    names = [field.name for field in fields(kind) if field.init]
    if not isinstance(data, Mapping) or set(data) - set(names):
        found = sorted(set(data) - set(names), key=repr) if isinstance(data, Mapping) else type(data).__name__
        raise InputError(f"{name}: expected an object with {', '.join(names)}, found {found}")
    return data


def check_iterable(name: str, items: Any) -> Iterable[Any]:
    """`items`, which can be iterated over and are no string; nothing for None."""
    if isinstance(items, (str, bytes)) or not isinstance(items, (Iterable, type(None))):
        raise InputError(f"{name}: expected a sequence, found one {type(items).__name__}")
    return () if items is None else items


def check_text(text: Any) -> str:
    """`text`, a string that is not blank."""
    if not isinstance(text, str):
        raise InputError(f"text: expected str, found {type(text).__name__} {text!r}")
    if not text.strip():
        raise InputError("text: expected words, found a blank string")
    return text


def check_product_id(name: str, id_: Any) -> str:
    """`id_`, a string."""
    if not isinstance(id_, str):
        raise InputError(f"{name}: expected a product id, found {type(id_).__name__} {id_!r}")
    return id_


def check_path(name: str, path: Any) -> str:
    """A path as a string."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"{name}: expected a path, found {type(path).__name__}")
    return str(path)


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """`value` as a float from `least` to `most`, both included."""
    if not is_number(value) or not least <= value <= most:
        raise InputError(f"{name}: expected a number from {least:g} to {most:g}, found {value!r}")
    return float(value)


def strengths(name: str, items: Likes) -> dict[str, float]:
    """Ids with strengths from ids and (id, strength) pairs; the strengths of an id that comes twice add up."""
    strength_of: dict[str, float] = {}
    for item in items.items() if isinstance(items, Mapping) else check_iterable(name, items):
        id_, strength = (item, 1.0) if isinstance(item, str) else _id_and_strength(name, item)
        strength_of[id_] = strength_of.get(id_, 0.0) + strength
    return strength_of


def seconds(time: Any) -> float:
    """Seconds since 1970 of a `Time`."""
    try:
        if isinstance(time, str):
            time = datetime.fromisoformat(time)
        if isinstance(time, datetime):
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except ValueError as error:
        raise InputError(f"time: expected ISO 8601, found {time!r}") from error
    if not is_number(time) or not math.isfinite(time):
        raise InputError(f"time: expected seconds since 1970, a datetime or ISO 8601, found {time!r}")
    return float(time)


def is_number(value: Any) -> bool:
    """Whether `value` is a real number that a float can hold: infinity is one, NaN and bool are none."""
    # Asking the abstract class is slow, so the usual types are compared first.
    if type(value) not in (float, int) and (isinstance(value, bool) or not isinstance(value, Real)):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:  # an int of more than 308 digits
        return False


def _id_and_strength(name: str, item: Any) -> tuple[str, float]:
    if not isinstance(item, Sequence) or len(item) != 2:
        raise InputError(f"{name}: expected an id or (id, strength), found {item!r}")
    id_, strength = item
    if not is_number(strength) or not 0 < strength < math.inf:
        raise InputError(f"{name}: expected a strength above 0 for {id_!r}, found {strength!r}")
    return check_product_id(name, id_), float(strength)
