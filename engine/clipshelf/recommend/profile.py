"""What is known of a person: words, pictures, likes, dislikes, and what they did, each event with its time.

A profile is a value: `update` and `merge` return another one. It is kept as JSON, and is used alone or with a query.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from clipshelf.errors import InputError
from clipshelf.files import durable
from clipshelf.types import PathLike

Time: TypeAlias = float | str | datetime
Like: TypeAlias = str | tuple[str, float]
Likes: TypeAlias = Iterable[Like] | Mapping[str, float]

# How much an event says about taste, of at most 1. A rating of 1 to 5 stars counts from -1 to 1 times its weight.
KINDS: Mapping[str, float] = MappingProxyType({"viewed": 0.2, "added_to_basket": 0.6, "bought": 1.0, "rated": 1.0})
_MIDDLE, _STEPS = 3.0, 2.0  # stars
_FORMAT = 1


@dataclass(frozen=True)
class Interaction:
    """A person met the product `id`: `kind` is one of KINDS, `time` in seconds since 1970, `stars` 1 to 5 if rated."""

    id: str
    kind: str
    time: float
    stars: float | None = None

    @classmethod
    def of(cls, item: Any) -> Interaction:
        """From (id, kind, time) or (id, kind, time, stars); time may be a datetime or ISO 8601 too.

        A time without a zone is UTC. Raises InputError on anything else.
        """
        if isinstance(item, cls):
            return item
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) not in (3, 4):
            raise InputError(f"history: expected (id, kind, time) or (id, kind, time, stars), found {item!r}")
        id_, kind, time, *stars = item
        name = kind.replace(" ", "_") if isinstance(kind, str) else ""
        if name not in KINDS:
            raise InputError(f"history: expected a kind among {', '.join(KINDS)}, found {kind!r}")
        if stars and stars[0] is not None and not (name == "rated" and is_number(stars[0]) and 1 <= stars[0] <= 5):
            raise InputError(f"history: expected 1 to 5 stars for a product that was rated, found {stars[0]!r} {kind}")
        return cls(_id("history", id_), name, seconds(time), *(None if star is None else float(star) for star in stars))

    @property
    def strength(self) -> float:
        """How much this says about taste, -1 to 1; without stars, rating a product counts as liking it."""
        opinion = 1.0 if self.stars is None else (self.stars - _MIDDLE) / _STEPS
        return KINDS[self.kind] * opinion

    def faded(self, now: float, half_life: float) -> float:
        """`strength` at the time `now`, halved for every `half_life` seconds since; the future has not faded."""
        return float(self.strength * 0.5 ** (max(0.0, now - self.time) / half_life))


@dataclass(frozen=True, init=False)
class Profile:
    """A person's signals, each optional; likes and dislikes map ids to strengths above 0.

    `images` are paths of pictures. `history` is in order of time, whatever order it comes in; the same event twice is
    one. Raises InputError on values of other kinds.
    """

    texts: tuple[str, ...]
    images: tuple[str, ...]
    liked: Mapping[str, float]
    disliked: Mapping[str, float]
    history: tuple[Interaction, ...]

    def __init__(
        self,
        *,
        texts: Iterable[str] = (),
        images: Iterable[PathLike] = (),
        liked: Likes = (),
        disliked: Likes = (),
        history: Iterable[Any] = (),
    ) -> None:
        store = object.__setattr__
        store(self, "texts", tuple(map(checked_text, several("texts", texts))))
        store(self, "images", tuple(map(_path, several("images", images))))
        store(self, "liked", MappingProxyType(strengths("liked", liked)))
        store(self, "disliked", MappingProxyType(strengths("disliked", disliked)))
        store(self, "history", _in_order(map(Interaction.of, several("history", history))))

    def __reduce__(self) -> tuple[Any, ...]:
        return Profile.from_dict, (self.to_dict(),)

    @property
    def ids(self) -> set[str]:
        """All products that it names."""
        return {*self.liked, *self.disliked, *(event.id for event in self.history)}

    def update(self, **more: Any) -> Profile:
        """This profile and more signals, named as in the constructor."""
        return self.merge(Profile(**more))

    def merge(self, other: Profile) -> Profile:
        """Both together: what is in both counts once, and `other` decides where they don't agree on a like."""
        return Profile(
            texts=dict.fromkeys(self.texts + other.texts),
            images=dict.fromkeys(self.images + other.images),
            liked=_merged(self.liked, other.liked, other.disliked),
            disliked=_merged(self.disliked, other.disliked, other.liked),
            history=self.history + other.history,
        )

    def only(self, known: Callable[[str], bool]) -> Profile:
        """This profile without ids that are not `known`, such as products that a catalogue no longer has."""
        return Profile(
            texts=self.texts,
            images=self.images,
            liked={id_: strength for id_, strength in self.liked.items() if known(id_)},
            disliked={id_: strength for id_, strength in self.disliked.items() if known(id_)},
            history=[event for event in self.history if known(event.id)],
        )

    def to_dict(self) -> dict[str, Any]:
        """The object that `save` writes, without its format."""
        return {
            "texts": list(self.texts),
            "images": list(self.images),
            "liked": dict(self.liked),
            "disliked": dict(self.disliked),
            "history": [[e.id, e.kind, e.time] + ([] if e.stars is None else [e.stars]) for e in self.history],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Profile:
        """The inverse of `to_dict`; every field is optional. Raises InputError on others."""
        return cls(**object_of("profile", cls, data))

    def save(self, path: PathLike) -> None:
        """Write the profile to a JSON file, whole or not at all. Raises OSError."""
        with durable(Path(path)) as file:
            file.write(json.dumps({"format": _FORMAT, **self.to_dict()}, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: PathLike) -> Profile:
        """Read what `save` wrote; raises InputError naming the file on anything else, OSError where there is none."""
        try:
            data = json.loads(Path(path).read_bytes())
            if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
                raise InputError(f"expected a profile of format {_FORMAT}, found something else")
            return cls.from_dict(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: {error}") from error


def object_of(name: str, kind: type, data: Any) -> Mapping[str, Any]:
    """`data` where it is a mapping with fields of the dataclass `kind` alone; raises InputError naming others."""
    names = [field.name for field in fields(kind)]
    if not isinstance(data, Mapping) or set(data) - set(names):
        found = sorted(set(data) - set(names), key=repr) if isinstance(data, Mapping) else type(data).__name__
        raise InputError(f"{name}: expected an object with {', '.join(names)}, found {found}")
    return data


def several(name: str, items: Any) -> Iterable[Any]:
    """`items` where they can be iterated over, nothing for None; raises InputError on one string or anything else."""
    if isinstance(items, (str, bytes)) or not isinstance(items, (Iterable, type(None))):
        raise InputError(f"{name}: expected a sequence, found one {type(items).__name__}")
    return () if items is None else items


def checked_text(text: Any) -> str:
    """A text with words in it; raises InputError on anything else."""
    if not isinstance(text, str):
        raise InputError(f"text: expected str, found {type(text).__name__} {text!r}")
    if not text.strip():
        raise InputError("text: expected words, found a blank string")
    return text


def strengths(name: str, items: Likes) -> dict[str, float]:
    """Ids with strengths from ids and (id, strength) pairs; what comes twice adds up. Raises InputError."""
    found: dict[str, float] = {}
    for item in items.items() if isinstance(items, Mapping) else several(name, items):
        id_, strength = (item, 1.0) if isinstance(item, str) else _pair(name, item)
        found[id_] = found.get(id_, 0.0) + strength
    return found


def seconds(time: Any) -> float:
    """Seconds since 1970 of a number, a datetime or ISO 8601; UTC where no zone is given. Raises InputError."""
    try:
        if isinstance(time, str):
            # Python 3.10 does not know Z
            time = datetime.fromisoformat(time.removesuffix("Z") + ("+00:00" if time.endswith("Z") else ""))
        if isinstance(time, datetime):
            return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
    except ValueError as error:
        raise InputError(f"time: expected ISO 8601, found {time!r}") from error
    if not is_number(time) or not math.isfinite(time):
        raise InputError(f"time: expected seconds since 1970, a datetime or ISO 8601, found {time!r}")
    return float(time)


def _in_order(events: Iterable[Interaction]) -> tuple[Interaction, ...]:
    return tuple(sorted(dict.fromkeys(events), key=lambda e: (e.time, e.id, e.kind, e.stars or 0.0)))


def _merged(mine: Mapping[str, float], other: Mapping[str, float], gone: Mapping[str, float]) -> dict[str, float]:
    return {id_: strength for id_, strength in mine.items() if id_ not in gone} | dict(other)


def _pair(name: str, item: Any) -> tuple[str, float]:
    if not isinstance(item, Sequence) or len(item) != 2:
        raise InputError(f"{name}: expected an id or (id, strength), found {item!r}")
    id_, strength = item
    if not is_number(strength) or not 0 < strength < math.inf:
        raise InputError(f"{name}: expected a strength above 0 for {id_!r}, found {strength!r}")
    return _id(name, id_), float(strength)


def _id(name: str, id_: Any) -> str:
    if not isinstance(id_, str):
        raise InputError(f"{name}: expected a product id, found {type(id_).__name__} {id_!r}")
    return id_


def _path(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"images: expected a path, found {type(path).__name__}")
    return str(path)


def is_number(value: Any) -> bool:
    """Whether a value is a real number that a float can hold, not NaN and no bool; infinity is one."""
    # asking the abstract class is slow
    if type(value) not in (float, int) and (isinstance(value, bool) or not isinstance(value, Real)):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:  # an int of more than 308 digits
        return False
