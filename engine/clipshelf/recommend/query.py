"""A query: signals, how much each counts, and which products may answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np

from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.model.image_sources import CroppedImage
from clipshelf.recommend.arguments import (
    Images,
    Likes,
    Texts,
    check_boosts,
    check_count,
    check_crop,
    check_grouping,
    check_iterable,
    check_mapping,
    check_no_path,
    check_number,
    check_object,
    check_product_id,
    check_text,
)
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.times import Time, half_life_days, seconds
from clipshelf.recommend.weights import Weights
from clipshelf.types import ImageSource

_NO_TASTE = Profile()


@dataclass(frozen=True)
class Query:
    """What `Recommender.recommend` takes, as one value, checked when it is made.

    - `text`: one text or several, such as a review or a wish.
    - `image`: one picture or several: paths, bytes, binary files, PIL images or uint8 arrays.
    - `liked`, `disliked`: product ids, or (id, strength) with strengths above 0; these products are never answered.
    - `history`: events (id, kind, time) or (id, "rated", time, stars), as `Interaction` describes them.
    - `k`: number of products to answer with, at most those of the catalogue.
    - `where`: a filter in words or as a dict, as docs/filters.md describes it.
    - `exclude`: product ids that are not answered; those that the catalogue does not have change nothing.
    - `weights`: the weights that change, by name (`Weights`). What has no weight is never embedded.
    - `diversity`: 0 to 1, how much fit may be given up for products that are unlike each other (docs/scores.md).
    - `crop`: (left, top, right, bottom) as fractions of width and height, the part of each of its own pictures that
      counts; None for all.
    - `min_relevance`: 0 to 1, products of a lower relevance are not answered.
    - `profile`: a person's signals, which are added to those above.
    - `exclude_bought`: whether products that the history says were bought are left out.
    - `boost`: weights by name of columns of numbers, which may be negative; `fresh`: half-lives by name of columns of
      dates, such as {"added": "30d"}. Both add to scores (`clipshelf.recommend.boosts`).
    - `group_by`: a column; of products with the same value of it, only the best one is answered. `group_members`: how
      many others of its group each of them lists.
    - `probability`: whether the answer says how probably each product belongs to the texts and pictures
      (`clipshelf.recommend.matching`); the model must be one that gives probabilities.
    - `now`: the time that the history is seen from, as anything that `seconds` takes; None for the present.
    - `unknown`: what becomes of liked, disliked and history ids that the catalogue does not have: "raise" an error, or
      "ignore" them. Those of the profile, which may be older than the catalogue, are always ignored. The answer lists
      what was ignored.

    `texts`, `images` and `taste` hold the signals of query and profile together. Raises InputError.
    """

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
    _: KW_ONLY
    profile: Profile | None = None
    exclude_bought: bool = False
    probability: bool = False
    min_relevance: float = 0.0
    crop: Sequence[float] | None = None
    boost: Mapping[str, float] | None = None
    fresh: Mapping[str, float | str] | None = None
    group_by: str | None = None
    group_members: int = 0
    now: Time | None = None
    unknown: Literal["raise", "ignore"] = "raise"
    texts: tuple[str, ...] = field(init=False, repr=False, compare=False)
    images: tuple[ImageSource, ...] = field(init=False, repr=False, compare=False)
    taste: Profile = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)) or self.k < 1:
            raise InputError(f"k: expected 1 or more, found {describe(self.k)}")
        if not isinstance(self.profile, (Profile, type(None))):
            raise InputError(f"profile: expected a Profile, found {type(self.profile).__name__}")
        if self.unknown not in ("raise", "ignore"):
            raise InputError(f"unknown: expected raise or ignore, found {describe(self.unknown)}")
        if not isinstance(self.probability, bool):
            raise InputError(f"probability: expected true or false, found {describe(self.probability)}")
        check_grouping(self.group_by, self.group_members)
        if self.weights is not None:
            Weights.of(self.weights, Weights())  # checks them; a recommender merges them with weights of its own
        taste = _taste(self.liked, self.disliked, self.history)
        normalised: dict[str, Any] = {
            "liked": dict(taste.liked),
            "disliked": dict(taste.disliked),
            "history": taste.history,
            "k": int(self.k),
            "exclude": tuple(check_product_id("exclude", id_) for id_ in check_iterable("exclude", self.exclude)),
            "diversity": check_number("diversity", self.diversity, 0, 1),
            "min_relevance": check_number("min_relevance", self.min_relevance, 0, 1),
            "boost": check_boosts(self.boost),
            "fresh": {name: half_life_days(name, days) for name, days in check_mapping("fresh", self.fresh).items()},
            "now": None if self.now is None else seconds(self.now),
            "texts": tuple(map(check_text, _as_list(self.text))),
            "images": tuple(_cropped(self.image, self.crop)),
            "taste": taste,
        }
        if self.profile is not None:
            normalised["texts"] += self.profile.texts
            normalised["images"] += self.profile.images
            normalised["taste"] = self.profile.merge(taste) if taste.ids else self.profile
        check_count("text", normalised["texts"])
        check_count("image", normalised["images"])
        for name, value in normalised.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, query: Query | Profile | Mapping[str, Any], k: int) -> Query:
        """A query as it is; a profile, or a mapping of arguments, as a query.

        - `k`: for a profile, and for a mapping without one.

        Raises InputError.
        """
        if isinstance(query, Query):
            return query
        if isinstance(query, Profile):
            return cls(profile=query, k=k)
        return cls(**{"k": k, **check_object("query", cls, query)})

    @classmethod
    def from_dict(cls, data: Any, *, allow_paths: bool = False) -> Query:
        """From a JSON object, as docs/json.md describes it.

        - `allow_paths`: whether `image` and the `images` of the profile may name files of this machine. JSON of
          strangers is read without.

        Raises InputError.
        """
        data = check_object("query", cls, data)
        if not allow_paths:
            for image in _as_list(data.get("image")):
                check_no_path("image", image)
        profile = data.get("profile")
        if profile is not None:
            profile = Profile.from_dict(profile, allow_paths=allow_paths)
        return cls(**{**data, "profile": profile})

    @property
    def named_ids(self) -> set[str]:
        """Ids of all products that the query names, also of those without weight."""
        return {*self.taste.ids, *self.exclude}

    @property
    def required_ids(self) -> set[str]:
        """Ids that the catalogue must have: liked, disliked and history ids of the query itself, unless ignored."""
        if self.unknown == "ignore":
            return set()
        return {*self.liked, *self.disliked, *(event.id for event in self.history)}

    @property
    def excluded_ids(self) -> set[str]:
        """Ids that are not answered: excluded, liked or disliked ones, and bought ones where these are excluded."""
        bought = {event.id for event in self.taste.history if event.kind == "bought"} if self.exclude_bought else set()
        return {*self.exclude, *self.taste.liked, *self.taste.disliked, *bought}


def _taste(liked: Likes, disliked: Likes, history: Iterable[Any]) -> Profile:
    """The signals of the query alone."""
    # The usual query has none of them. The truth of an array or a table is not defined.
    if all(isinstance(items, (list, tuple, dict)) and not items for items in (liked, disliked, history)):
        return _NO_TASTE
    return Profile(liked=liked, disliked=disliked, history=history)


def _cropped(image: Images | None, crop: Any) -> list[Any]:
    """The pictures of the query alone, or a part of each."""
    images = _as_list(image)
    if crop is None:
        return images
    box = check_crop(crop)
    if not images:
        raise InputError("crop: expected a picture of the query, found none")
    return [CroppedImage(image, box) for image in images]


def _as_list(value: Any) -> list[Any]:
    """Nothing, one value or several, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
