"""A person's signals: texts, pictures, likes, dislikes, and events with their times.

A profile is a value: `update` and `merge` return a new one. It is stored as JSON, and it is used alone or with a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clipshelf.display import describe, json_text
from clipshelf.errors import InputError
from clipshelf.files import durable, read_regular
from clipshelf.json_parsing import parse_json
from clipshelf.recommend.arguments import (
    Likes,
    check_iterable,
    check_no_path,
    check_object,
    check_path,
    check_product_id,
    check_text,
    is_number,
    strengths,
)
from clipshelf.recommend.times import seconds
from clipshelf.types import PathLike

# Weight of an event of each kind, at most 1. A rating counts from -1 (1 star) to 1 (5 stars) times its weight.
KINDS: Mapping[str, float] = MappingProxyType({"viewed": 0.2, "added_to_basket": 0.6, "bought": 1.0, "rated": 1.0})
_NEUTRAL_STARS, _STARS_TO_EXTREME = 3.0, 2.0
_FORMAT = 1
_MOST_BYTES = 1 << 26  # of a file; one of 100,000 interactions has a sixth of that


@dataclass(frozen=True)
class Interaction:
    """An event between a person and a product.

    - `id`: the product.
    - `kind`: a key of `KINDS`, also with blanks instead of underscores.
    - `time`: anything that `seconds` takes; it is kept in seconds since 1970.
    - `stars`: 1 to 5 for a rating, else None.

    Raises InputError.
    """

    id: str
    kind: str
    time: float
    stars: float | None = None

    def __post_init__(self) -> None:
        kind = self.kind.replace(" ", "_") if isinstance(self.kind, str) else ""
        if kind not in KINDS:
            raise InputError(f"history: expected a kind among {', '.join(KINDS)}, found {describe(self.kind)}")
        stars = self.stars
        if stars is not None and not (kind == "rated" and is_number(stars) and 1 <= stars <= 5):
            raise InputError(
                f"history: expected 1 to 5 stars for a product that was rated, found {describe(stars)} {kind}"
            )
        store = object.__setattr__
        store(self, "id", check_product_id("history", self.id))
        store(self, "kind", kind)
        store(self, "time", seconds(self.time))
        store(self, "stars", None if stars is None else float(stars))

    @classmethod
    def of(cls, item: Any) -> Interaction:
        """From (id, kind, time) or (id, kind, time, stars). Raises InputError."""
        if isinstance(item, cls):
            return item
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) not in (3, 4):
            raise InputError(f"history: expected (id, kind, time) or (id, kind, time, stars), found {describe(item)}")
        return cls(*item)

    @property
    def strength(self) -> float:
        """How much the person likes the product, -1 to 1; a rating without stars counts as 5 stars."""
        opinion = 1.0 if self.stars is None else (self.stars - _NEUTRAL_STARS) / _STARS_TO_EXTREME
        return KINDS[self.kind] * opinion

    def faded(self, now: float, half_life: float) -> float:
        """`strength`, halved for every `half_life` seconds that passed before `now`; later events do not fade."""
        return float(self.strength * 0.5 ** (max(0.0, now - self.time) / half_life))


@dataclass(frozen=True, init=False)
class Profile:
    """A person's signals, each of them optional.

    - `texts`, `images`: sentences, and paths of pictures.
    - `liked`, `disliked`: product ids with strengths above 0.
    - `history`: interactions in order of time; the same event twice is one.

    Raises InputError on values of other kinds.
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
        store(self, "texts", tuple(map(check_text, check_iterable("texts", texts))))
        store(self, "images", tuple(check_path("images", path) for path in check_iterable("images", images)))
        store(self, "liked", MappingProxyType(strengths("liked", liked)))
        store(self, "disliked", MappingProxyType(strengths("disliked", disliked)))
        store(self, "history", _in_order(map(Interaction.of, check_iterable("history", history))))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Profile.from_dict, allow_paths=True), (self.to_dict(),)

    @property
    def ids(self) -> set[str]:
        """Ids of all products that the profile names."""
        return {*self.liked, *self.disliked, *(event.id for event in self.history)}

    def update(
        self,
        *,
        texts: Iterable[str] = (),
        images: Iterable[PathLike] = (),
        liked: Likes = (),
        disliked: Likes = (),
        history: Iterable[Any] = (),
    ) -> Profile:
        """This profile merged with further signals, which are named as in the constructor."""
        return self.merge(Profile(texts=texts, images=images, liked=liked, disliked=disliked, history=history))

    def merge(self, other: Profile) -> Profile:
        """Both profiles in one: what is in both counts once. Where they disagree on a like, `other` decides."""
        return Profile(
            texts=dict.fromkeys(self.texts + other.texts),
            images=dict.fromkeys(self.images + other.images),
            liked=_merged(self.liked, other.liked, removed=other.disliked),
            disliked=_merged(self.disliked, other.disliked, removed=other.liked),
            history=self.history + other.history,
        )

    def only(self, known: Callable[[str], bool]) -> Profile:
        """This profile without the ids for which `known` is false, such as products that a catalogue no longer has."""
        return Profile(
            texts=self.texts,
            images=self.images,
            liked={id_: strength for id_, strength in self.liked.items() if known(id_)},
            disliked={id_: strength for id_, strength in self.disliked.items() if known(id_)},
            history=[event for event in self.history if known(event.id)],
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON object of the signals; `docs/json.md` describes it."""
        return {
            "texts": list(self.texts),
            "images": list(self.images),
            "liked": dict(self.liked),
            "disliked": dict(self.disliked),
            "history": [[e.id, e.kind, e.time] + ([] if e.stars is None else [e.stars]) for e in self.history],
        }

    @classmethod
    def from_dict(cls, data: Any, *, allow_paths: bool = False) -> Profile:
        """The inverse of `to_dict`; every field is optional.

        - `allow_paths`: whether `images` may name files of this machine. They are opened when the profile is used, so
          that JSON of strangers is read without.

        Raises InputError on unknown fields, and on paths that are not allowed.
        """
        data = check_object("profile", cls, data)
        if not allow_paths:
            for path in check_iterable("images", data.get("images")):
                check_no_path("images", path)
        return cls(**data)

    def save(self, path: PathLike) -> None:
        """Write the profile to a JSON file, whole or not at all. Raises OSError."""
        with durable(Path(path)) as file:
            file.write(json_text({"format": _FORMAT, **self.to_dict()}).encode())

    @classmethod
    def load(cls, path: PathLike, *, allow_paths: bool = True) -> Profile:
        """Read a file that `save` wrote.

        - `allow_paths`: as of `from_dict`.

        Raises InputError that names a file of another kind, and OSError.
        """
        try:
            data = parse_json(read_regular(Path(path), _MOST_BYTES))
            if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
                raise InputError(f"expected a profile of format {_FORMAT}, found something else")
            return cls.from_dict(data, allow_paths=allow_paths)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error


def _in_order(events: Iterable[Interaction]) -> tuple[Interaction, ...]:
    return tuple(sorted(dict.fromkeys(events), key=lambda e: (e.time, e.id, e.kind, e.stars or 0.0)))


def _merged(
    strengths: Mapping[str, float], later: Mapping[str, float], *, removed: Mapping[str, float]
) -> dict[str, float]:
    return {id_: strength for id_, strength in strengths.items() if id_ not in removed} | dict(later)
