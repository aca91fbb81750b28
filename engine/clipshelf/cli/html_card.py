"""One recommended product as HTML, made of the template that the page of the service has in its `index.html`."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from clipshelf.catalogue.product_sides import name_of
from clipshelf.display import one_line
from clipshelf.recommend.answers import Contribution, Recommendation

_SHOWN_SIGNALS = 5  # bars of a card; smaller ones are summed, as the page of the service does
_MINUS = "\N{MINUS SIGN}"  # as wide as a plus
_WORDS = (
    (re.compile(r"^words$"), "matching words"),
    (re.compile(r"^text\b"), "words"),
    (re.compile(r"^image\b"), "picture"),
)


@dataclass(frozen=True)
class Picture:
    """The picture of a product: its data: URI, or why it cannot be shown, "" where there is none."""

    data: str | None
    fault: str = ""


@dataclass
class Reason:
    """What one signal of a query adds to a score.

    - `label`: what the signal is, such as "words", or "liked" and the name of a product.
    - `value`: what it adds.
    - `rounded`: the same in hundredths; those of a score sum to the rounded score.
    - `sides`: the part of each side of the product, in words.
    """

    label: str
    value: float = 0.0
    rounded: int = 0
    sides: list[str] = field(default_factory=list)


def page_file(name: str) -> str:
    """Return a text file of the page of the service."""
    return resources.files("clipshelf.serve").joinpath("page", name).read_text(encoding="utf-8")


def reasons(item: Recommendation, names: Mapping[str, str]) -> list[Reason]:
    """Take a score apart by signal.

    - `names`: what products are called, by id.

    Returns the largest reasons, and the sum of the smaller ones.
    """
    parts = list(item.contributions)
    signals: dict[tuple[str, str | None], Reason] = {}
    for part, rounded in zip(parts, _round_to_sum([part.value for part in parts], item.score), strict=True):
        reason = signals.setdefault((part.signal, part.id), Reason(_label(part.signal, part.id, names)))
        reason.value += part.value
        reason.rounded += rounded
        if part.side:
            reason.sides.append(_side(part, rounded))
    largest = sorted(signals.values(), key=lambda reason: -abs(reason.value))
    smaller = largest[_SHOWN_SIGNALS:]
    if len(smaller) < 2:
        return largest
    rest = Reason(
        f"{len(smaller)} smaller ones",
        sum(reason.value for reason in smaller),
        sum(reason.rounded for reason in smaller),
    )
    return [*largest[:_SHOWN_SIGNALS], rest]


def _side(part: Contribution, rounded: int) -> str:
    """What a signal adds through one side in words, with the shares of several pictures or texts."""
    name = "picture" if part.side == "image" else "text"
    if not part.parts:
        return f"its {name} {_signed(rounded)}"
    shares = _round_to_sum([share.value for share in part.parts], rounded / 100)
    listed = ", ".join(f"{share.index + 1}: {_signed(value)}" for share, value in zip(part.parts, shares, strict=True))
    return f"its {name}s {_signed(rounded)} ({listed})"


def running_sums(values: Sequence[Reason]) -> list[float]:
    """Return where the bars of reasons begin and end: 0, and the sum after each."""
    sums = [0.0]
    for reason in values:
        sums.append(sums[-1] + reason.value)
    return sums


def card(item: Recommendation, picture: Picture, names: Mapping[str, str], scale: tuple[float, float]) -> str:
    """Write a product as a list item.

    - `names`: see `reasons`.
    - `scale`: least and largest running sum of all products that are shown beside it.
    """
    element = copy.deepcopy(_template())
    element.remove(_part(element, "actions"))
    product = item.product
    _part(element, "text").text = one_line(name_of(product)).strip()
    _part(element, "kind").text = _plain(product.get("category"))
    _part(element, "price").text = _price(product.get("price"))
    box = _part(element, "picture")
    blank = _part(box, "blank")
    if picture.data is not None:
        box.remove(blank)
        SubElement(box, "img", src=picture.data, alt="")
    elif picture.fault:
        blank.set("title", one_line(picture.fault))
    probability = "" if item.probability is None else f", match {item.probability:.1%}"
    _part(element, "fits").text = f"fits {_percent(item.relevance)}{probability}"
    _part(element, "gauge")[0].set("style", f"width:{100 * item.relevance:.1f}%")
    _part(element, "score").text = _signed(_hundredths(item.score), plus="")
    why = _part(element, "why")
    why.set("open", "")
    _add_reasons(_part(why, "parts"), item, names, scale)
    return ElementTree.tostring(element, encoding="unicode", method="html").strip()


@cache
def _template() -> Element:
    """The card as the page of the service has it; nobody may change it."""
    found = re.search(r'<template id="card">(.*?)</template>', page_file("index.html"), re.DOTALL)
    if found is None:
        raise ValueError("index.html: expected a template of the id card, found none")
    return ElementTree.fromstring(found[1])


def _part(element: Element, name: str) -> Element:
    """The part of a card that has a class."""
    found = element.find(f".//*[@class='{name}']")
    if found is None:
        raise ValueError(f"index.html: expected an element of the class {name} in the template, found none")
    return found


def _add_reasons(parts: Element, item: Recommendation, names: Mapping[str, str], scale: tuple[float, float]) -> None:
    """Fill the list of reasons: a bar for each, which begins where the one before ended, and the sum."""
    rows = reasons(item, names)
    sums = running_sums(rows)
    for reason, start, end in zip(rows, sums, sums[1:], strict=False):
        SubElement(parts, "dt", title=reason.label).text = reason.label
        SubElement(parts, "dd").text = _signed(reason.rounded)
        _add_bar(parts, start, end, scale, "minus" if reason.value < 0 else "")
        if len(reason.sides) > 1 or "(" in "".join(reason.sides):
            SubElement(parts, "dd", {"class": "sides"}).text = ", ".join(reason.sides)
    SubElement(parts, "dt", {"class": "sum"}).text = "score"
    SubElement(parts, "dd", {"class": "sum"}).text = _signed(_hundredths(item.score), plus="")
    _add_bar(parts, 0.0, item.score, scale, "whole")


def _add_bar(parts: Element, start: float, end: float, scale: tuple[float, float], kind: str) -> None:
    least, most = scale
    width = (most - least) or 1.0
    left, share = 100 * (min(start, end) - least) / width, 100 * abs(end - start) / width
    bar = SubElement(parts, "dd", {"class": "bar"})
    SubElement(bar, "i", {"class": kind} if kind else {}).set("style", f"left:{left:.1f}%;width:{share:.1f}%")


def _label(signal: str, id_: str | None, names: Mapping[str, str]) -> str:
    for pattern, word in _WORDS:
        signal = pattern.sub(word, signal)
    return one_line(" ".join(filter(None, (signal.replace("_", " "), id_ and names.get(id_, id_)))))


def _price(price: object) -> str:
    is_number = isinstance(price, (int, float)) and not isinstance(price, bool)
    return f"{price:,.2f}" if is_number else _plain(price)


def _plain(value: object) -> str:
    """A value of a product in words; a record has none."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_plain, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or isinstance(value, dict) else one_line(str(value))


def _percent(share: float) -> str:
    """Whole percents, of which 100 means 1 and not 0.996."""
    return f"{min(99, _half_up(100 * share)) if share < 1 else 100}%"


def _hundredths(value: float) -> int:
    return _half_up(100 * value)


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)


def _signed(hundredths: int, plus: str = "+") -> str:
    """Hundredths with two digits after the point."""
    return f"{_MINUS if hundredths < 0 else plus}{abs(hundredths) / 100:.2f}"


def _round_to_sum(values: Sequence[float], total: float) -> list[int]:
    """Hundredths of values that sum to the hundredths of their total: those that lost most by rounding get the rest."""
    rounded = [_hundredths(value) for value in values]
    missing = _hundredths(total) - sum(rounded)
    step = 1 if missing > 0 else -1
    lost = sorted(range(len(values)), key=lambda i: -step * (100 * values[i] - rounded[i]))
    for i in lost[: abs(missing)]:
        rounded[i] += step
    return rounded
