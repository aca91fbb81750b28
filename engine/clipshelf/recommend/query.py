"""What is asked: signals, how much each counts, and what may be answered."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from clipshelf.catalogue.filters import Where
from clipshelf.errors import InputError
from clipshelf.recommend.profile import Likes, Profile, Time, checked_text, is_number, object_of, seconds, several
from clipshelf.types import DoubleArray, ImageSource


@dataclass(frozen=True)
class Weights:
    """Weight of each kind of signal, and of each of the four cosines, named query side then product side.

    A cosine counts by the product of the two. By default a side counts half across the gap between words and
    pictures; a liked product counts half for each of its sides, so that it weighs as much as a text; and a dislike,
    which says less about what is wanted, a fifth of a like. `docs/quality.md` has what was measured.
    Raises InputError on a weight that is negative or not finite.
    """

    text: float = 1.0
    image: float = 1.0
    liked: float = 0.5
    disliked: float = 0.1
    history: float = 0.5
    text_text: float = 1.0
    text_image: float = 0.5
    image_text: float = 0.5
    image_image: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not is_number(value) or not 0 <= value < math.inf:
                raise InputError(f"weights: {field.name}: expected a number from 0 on, found {value!r}")

    @classmethod
    def of(cls, changes: Weights | Mapping[str, float] | None, default: Weights) -> Weights:
        """`default` with some weights changed by name; raises InputError naming one that there isn't."""
        if changes is None or isinstance(changes, cls):
            return changes or default
        names = [field.name for field in fields(cls)]
        if not isinstance(changes, Mapping):
            raise InputError(f"weights: expected a dict of {', '.join(names)}, found {type(changes).__name__}")
        unknown = set(changes) - set(names)
        if unknown:
            raise InputError(f"weights: expected {', '.join(names)}, found {', '.join(sorted(map(repr, unknown)))}")
        return replace(default, **changes)

    @cached_property
    def cosines(self) -> DoubleArray:
        """(2, 2): query side by product side, each image then text."""
        return np.array([[self.image_image, self.image_text], [self.text_image, self.text_text]], np.float64)


Texts: TypeAlias = str | Sequence[str]
Images: TypeAlias = ImageSource | Sequence[ImageSource]


@dataclass(frozen=True)
class Query:
    """The arguments of `Recommender.recommend`, which explains them, as one value."""

    text: Texts | None = None
    image: Images | None = None
    liked: Likes = ()
    disliked: Likes = ()
    history: Iterable[Any] = ()
    k: int = 10
    where: Where | str | None = None
    exclude: Iterable[str] = ()
    weights: Weights | Mapping[str, float] | None = None
    diversity: float = 0.0
    profile: Profile | None = None
    exclude_bought: bool = False
    now: Time | None = None

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)) or self.k < 1:
            raise InputError(f"k: expected 1 or more, found {self.k!r}")
        if not is_number(self.diversity) or not 0 <= self.diversity <= 1:
            raise InputError(f"diversity: expected a number from 0 to 1, found {self.diversity!r}")
        if not isinstance(self.profile, (Profile, type(None))):
            raise InputError(f"profile: expected a Profile, found {type(self.profile).__name__}")
        # read once, as it may be an iterator
        object.__setattr__(self, "exclude", tuple(several("exclude", self.exclude)))
        for id_ in self.exclude:
            if not isinstance(id_, str):
                raise InputError(f"exclude: expected a product id, found {type(id_).__name__} {id_!r}")

    @classmethod
    def of(cls, query: Query | Profile | Mapping[str, Any], k: int) -> Query:
        """A query, a profile or a mapping of arguments as a query whose ids were read; raises InputError."""
        if isinstance(query, Profile):
            query = cls(profile=query, k=k)
        elif not isinstance(query, Query):
            query = cls(**{"k": k, **object_of("query", cls, query)})
        query.named  # noqa: B018
        return query

    @classmethod
    def from_dict(cls, data: Any) -> Query:
        """From a JSON object with the arguments' names; `profile` is an object too. Raises InputError on others."""
        data = object_of("query", cls, data)
        profile = data.get("profile")
        return cls(**{**data, "profile": None if profile is None else Profile.from_dict(profile)})

    @cached_property
    def texts(self) -> list[str]:
        """All texts, those of the profile last; raises InputError on what is none, or blank."""
        return [*map(checked_text, _listed(self.text)), *(self.profile.texts if self.profile else ())]

    @cached_property
    def images(self) -> list[ImageSource]:
        """All pictures, those of the profile last."""
        return [*_listed(self.image), *(self.profile.images if self.profile else ())]

    @cached_property
    def taste(self) -> Profile:
        """Likes, dislikes and history, those of the profile included."""
        if self.profile is not None and not (self.liked or self.disliked or self.history):
            return self.profile
        own = Profile(liked=self.liked, disliked=self.disliked, history=self.history)
        return own if self.profile is None else self.profile.merge(own)

    @cached_property
    def named(self) -> set[str]:
        """All products that it names, even those without a weight."""
        return {*self.taste.ids, *self.exclude}

    @cached_property
    def left_out(self) -> set[str]:
        """Products not to be answered: `exclude`, what is liked or disliked, and what was bought if so asked."""
        taste = self.taste
        bought = {event.id for event in taste.history if event.kind == "bought"} if self.exclude_bought else set()
        return {*self.exclude, *taste.liked, *taste.disliked, *bought}

    @cached_property
    def seen_from(self) -> float:
        """The time that history is seen from, in seconds since 1970."""
        return time.time() if self.now is None else seconds(self.now)


def _listed(value: Any) -> list[Any]:
    """A list of what may be nothing, one thing or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
