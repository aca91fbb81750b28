"""Answers as plain values: products with scores and the reasons for them. They hold no catalogue and can be pickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, overload

from clipshelf.catalogue.product_sides import texts_of
from clipshelf.catalogue.statistics import IMAGE, SIDES
from clipshelf.display import one_line, printable
from clipshelf.recommend.part_shares import SideShares
from clipshelf.timeline import Span
from clipshelf.types import DoubleArray, Product

NO_SHARES: Mapping[int, SideShares] = {}
# Columns of the table, in characters.
_ID_WIDTH, _TEXT_WIDTH = 32, 100


@dataclass(frozen=True)
class PartShare:
    """The share of a contribution that belongs to one of several pictures or texts of the product.

    - `index`: of the picture or text in the product's record, from 0.
    - `path`: of the picture, None for a text, and for a picture that is no file.
    - `value`: those of a contribution sum to its value.
    """

    index: int
    path: str | None
    value: float


@dataclass(frozen=True)
class Contribution:
    """What one signal adds to a score through one side of the product.

    - `signal`: "text" or "image" (numbered where there are several), "liked", "disliked", the kind of an interaction,
      "boost" or "fresh" and the name of a column, or "diversity".
    - `id`: the product that was liked, disliked or interacted with, else None.
    - `side`: "image" or "text", None for what columns and diversity add.
    - `value`: negative where it lowers the score.
    - `parts`: the shares of the product's pictures, or texts, where the side has several.
    """

    signal: str
    id: str | None
    side: str | None
    value: float
    parts: tuple[PartShare, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The contribution as a JSON object (docs/json.md)."""
        plain: dict[str, Any] = {"signal": self.signal, "id": self.id, "side": self.side, "value": self.value}
        if self.parts:
            plain["parts"] = [asdict(part) for part in self.parts]
        return plain

    def __str__(self) -> str:
        """Such as `liked running-shoes / image`."""
        return " / ".join(filter(None, (" ".join(filter(None, (self.signal, self.id))), self.side)))


class Contributions(Sequence[Contribution]):
    """The contributions to one score, which are kept as numbers and become objects when they are read.

    - `names`: S signals, each its kind and the id of its product or None.
    - `values`: (S, 2) by side of the product, image then text.
    - `sides`: numbers of the sides that the product has.
    - `penalty`: what diversity takes from the score; 0 for nothing.
    - `added`: names and values of what columns add to the score.
    - `shares`: by side the shares of pictures or texts, of a side that has several.
    """

    def __init__(
        self,
        names: Sequence[tuple[str, str | None]],
        values: DoubleArray,
        sides: Sequence[int],
        penalty: float = 0.0,
        added: Sequence[tuple[str, float]] = (),
        *,
        shares: Mapping[int, SideShares] = NO_SHARES,
    ) -> None:
        self._names = names
        self._values = values
        self._sides = sides
        self._penalty = penalty
        self._added = added
        self._shares = shares

    @property
    def best_picture(self) -> int | None:
        """The index of the picture that fits best, None for a product without several pictures."""
        return self._shares[IMAGE].best_file if IMAGE in self._shares else None

    def __len__(self) -> int:
        return len(self._names) * len(self._sides) + len(self._added) + bool(self._penalty)

    def __iter__(self) -> Iterator[Contribution]:
        for number, ((signal, id_), values) in enumerate(zip(self._names, self._values.tolist(), strict=True)):
            for side in self._sides:
                parts = self._parts(number, side) if side in self._shares else ()
                yield Contribution(signal, id_, SIDES[side], values[side], parts)
        for name, value in self._added:
            yield Contribution(name, None, None, value)
        if self._penalty:
            yield Contribution("diversity", None, None, -self._penalty)

    def _parts(self, signal: int, side: int) -> tuple[PartShare, ...]:
        shares = self._shares[side]
        return tuple(map(PartShare, range(len(shares.paths)), shares.paths, shares.values[signal].tolist()))

    @overload
    def __getitem__(self, index: int) -> Contribution: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Contribution, ...]: ...
    def __getitem__(self, index: int | slice) -> Contribution | tuple[Contribution, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True)
class GroupMember:
    """Another product of the group of a recommended one."""

    id: str
    score: float
    product: Product


@dataclass(frozen=True)
class Group:
    """The group that a recommended product is the best of (`Query.group_by`).

    - `value`: what its products share, None for a product without a value, which is alone.
    - `size`: number of its products that may be answered, the recommended one included.
    - `members`: the best others, as many as `Query.group_members` says.
    """

    value: str | float | bool | None
    size: int
    members: tuple[GroupMember, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """One product, its score, and why.

    - `id`, `product`: the product's id and its record.
    - `score`: the weighted mean of cosines on the catalogue's scale, plus what boosts and freshness add, less the
      penalty of diversity (docs/scores.md).
      0 is the score of an average product; higher is better. Scores of different queries do not compare.
    - `relevance`: 0 to 1, how sure it is that the product fits at all. Does compare between queries.
    - `contributions`: what each signal adds to the score, by side of the product. They sum to the score.
    - `probability`: how probably the product belongs to the query's texts and pictures (`Query.probability`), 0 to 1;
      None where that was not asked for, or where the product lacks the side that is compared.
    - `group`: the group that it is the best of, None without `Query.group_by`.
    - `picture`: the index of the picture that fits the query best, of a product that has several, for
      `Catalogue.picture`; else None.
    """

    id: str
    score: float
    relevance: float
    product: Product
    contributions: Sequence[Contribution] = field(repr=False)
    probability: float | None = None
    group: Group | None = None
    picture: int | None = None

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The item as a JSON object (docs/json.md), with its contributions if `explain`."""
        item: dict[str, Any] = {"id": self.id, "score": self.score, "relevance": self.relevance}
        if self.probability is not None:
            item["probability"] = self.probability
        item["product"] = self.product
        if self.picture is not None:
            item["picture"] = self.picture
        if self.group is not None:
            item["group"] = asdict(self.group)
        if explain:
            item["contributions"] = [contribution.to_dict() for contribution in self.contributions]
        return item


@dataclass(frozen=True)
class Recommendations:
    """The answer to one query.

    - `items`: the products, best first.
    - `took_ms`: milliseconds of "embed_text", "embed_image", "rank" and "total", of the whole call in a batch.
    - `stages`: start and end of finer stages in milliseconds since the call began: "tokenise", "text", "decode",
      "preprocess", "vision", "fuse", "search"; those of different threads overlap.
    - `note`: for an answer without products why there are none, and how many products each term of the filter lets
      through; else None.
    - `unknown_ids`: ids that the catalogue does not have and that were ignored (`Query.unknown`), sorted.
    - `missing_shards`: shards of a sharded catalogue that did not answer; the answer is without their products.
    """

    items: tuple[Recommendation, ...]
    took_ms: dict[str, float]
    stages: Mapping[str, Span] = field(default_factory=dict, repr=False, compare=False)
    note: str | None = None
    unknown_ids: tuple[str, ...] = ()
    missing_shards: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]

    def __str__(self) -> str:
        return self.table()

    def table(self, *, explain: bool = False) -> str:
        """A table for a terminal: rank, score, relevance, id and text, which is cut; contributions if `explain`.

        Probabilities, where there are any, come after the relevance. Control characters are shown as escapes. An answer
        without products has its note instead.
        """
        ids = [printable(item.id) for item in self.items]
        width = min(_ID_WIDTH, max(map(len, ids), default=0))
        has_probabilities = any(item.probability is not None for item in self.items)
        lines = []
        for rank, (id_, item) in enumerate(zip(ids, self.items, strict=True), 1):
            text = shorten(one_line(next(iter(texts_of(item.product)), "")), _TEXT_WIDTH)
            score = round(item.score, 3) + 0.0  # turns -0.0 into 0.0
            if item.group is not None and item.group.size > 1:
                text = f"{text} (1 of {item.group.size})"
            probability = f"{_percent(item.probability):>6}  " if has_probabilities else ""
            lines.append(f"{rank:3}  {score:6.3f}  {item.relevance:4.0%}  {probability}{id_:{width}}  {text}".rstrip())
            if explain:
                lines += _explained(item.contributions)
        if self.note:
            lines.append(f"     {printable(self.note)}")
        if self.missing_shards:
            lines.append(f"     without the products of the shards {', '.join(map(str, self.missing_shards))}")
        return "\n".join([*lines, f"     {self.took_ms['total']:.1f} ms"])

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The answer as a JSON object (docs/json.md), with contributions if `explain`."""
        answer: dict[str, Any] = {"recommendations": [item.to_dict(explain=explain) for item in self.items]}
        if self.note is not None:
            answer["note"] = self.note
        if self.unknown_ids:
            answer["unknown_ids"] = list(self.unknown_ids)
        if self.missing_shards:
            answer["missing_shards"] = list(self.missing_shards)
        return {**answer, "took_ms": self.took_ms}


def _explained(contributions: Sequence[Contribution]) -> list[str]:
    """Contributions as lines of a table, with the shares of pictures and texts below theirs."""
    lines = []
    for contribution in contributions:
        lines.append(f"     {contribution.value:+6.3f}  {printable(str(contribution))}")
        for part in contribution.parts:
            path = f", {printable(part.path)}" if part.path else ""
            lines.append(f"       {part.value:+6.3f}  {contribution.side} {part.index + 1}{path}")
    return lines


def _percent(probability: float | None) -> str:
    return "-" if probability is None else f"{probability:.1%}"


def shorten(text: str, width: int) -> str:
    """A text on one line, cut to `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
