"""What a recommender answers: products, scores, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from clipshelf.types import Product

# characters of a column in a table for people
_ID_WIDTH, _TEXT_WIDTH = 32, 100


@dataclass(frozen=True)
class Contribution:
    """What one signal adds to a score, through one side of the product.

    `signal` is "text", "image" (numbered when there are several), "liked", "disliked", the kind of an interaction, or
    "diversity"; `id` is the product that was liked, disliked or interacted with; `side` is "image" or "text".
    """

    signal: str
    id: str | None
    side: str | None
    value: float

    def __str__(self) -> str:
        """Such as `liked running-shoes / image`."""
        return " / ".join(filter(None, (" ".join(filter(None, (self.signal, self.id))), self.side)))


class Source(Protocol):
    """Where the items of one answer have their details from, by their place in it."""

    def product(self, place: int) -> Product:
        """A product's record."""

    def contributions(self, place: int) -> tuple[Contribution, ...]:
        """What makes up a score."""


@dataclass(frozen=True)
class Recommendation:
    """One product, its score, and why.

    `score` is the weighted mean of cosines on the catalogue's scale (`clipshelf.recommend.signals`), less the MMR
    penalty: 0 is a product like any other, higher is better. `relevance`, 0 to 1, says how sure it is
    that the product fits at all (`clipshelf.recommend.calibration`). `contributions` sum to the score; they are made
    when they are first asked for.
    """

    id: str
    score: float
    relevance: float
    place: int = field(repr=False, compare=False)
    source: Source = field(repr=False, compare=False)

    @cached_property
    def product(self) -> Product:
        """The product's record."""
        return self.source.product(self.place)

    @cached_property
    def contributions(self) -> tuple[Contribution, ...]:
        """What each signal adds to the score, by side of the product."""
        return self.source.contributions(self.place)

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """An item of the JSON that `clipshelf recommend` prints."""
        item = {"id": self.id, "score": self.score, "relevance": self.relevance, "product": self.product}
        if explain:
            item["contributions"] = [vars(contribution) for contribution in self.contributions]
        return item


@dataclass(frozen=True)
class Recommendations:
    """Products that fit a query, best first, and how long each stage took in milliseconds."""

    items: tuple[Recommendation, ...]
    took_ms: dict[str, float]

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]

    def __str__(self) -> str:
        return self.table()

    def table(self, *, explain: bool = False) -> str:
        """A table for people: rank, score, relevance, id and text; below each, what makes up its score if asked.

        A long text is cut.
        """
        width = min(_ID_WIDTH, max((len(item.id) for item in self.items), default=0))
        lines = []
        for rank, item in enumerate(self.items, 1):
            text = shorten(item.product.get("text", ""), _TEXT_WIDTH)
            score = round(item.score, 3) + 0.0  # no minus before zero
            lines.append(f"{rank:3}  {score:6.3f}  {item.relevance:4.0%}  {item.id:{width}}  {text}".rstrip())
            if explain:
                lines += [f"     {part.value:+6.3f}  {part}" for part in item.contributions]
        return "\n".join([*lines, f"     {self.took_ms['total']:.1f} ms"])

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The object that `clipshelf recommend --json` prints, which docs/json.md describes."""
        return {"recommendations": [item.to_dict(explain=explain) for item in self.items], "took_ms": self.took_ms}


def shorten(text: str, width: int) -> str:
    """A text on one line, cut to `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
