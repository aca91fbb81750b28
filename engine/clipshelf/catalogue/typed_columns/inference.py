"""Infers the kind of a column from the evidence of its values, and finds the values that do not fit a kind.

A kind is inferred where at least nine in ten of the values can be converted to it. Those that spell nothing, such as
N/A, do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.typed_columns.cells import is_nothing, item_converter, number_of
from clipshelf.catalogue.typed_columns.column_values import ColumnValues
from clipshelf.catalogue.typed_columns.evidence import ColumnEvidence, TextEvidence
from clipshelf.catalogue.typed_columns.kinds import Declaration, Kind, kind_of

# One value in this number may be odd.
_ODD_AMONG = 10
# At least one of these sets occurs whole in a column of true and false: a column of NO alone may be one of countries.
_BOOL_WORDS = ({"true"}, {"false"}, {"yes", "no"}, {"y", "n"}, {"on", "off"})
# A column whose name has one of these words holds codes. Their digits are no numbers.
CODE_WORD = re.compile(
    "ean|gtin|upc|isbn|issn|asin|sku|mpn|barcode|codes?|zip|zipcode|postcode|postal|plz|phone|telephone|tel|fax|"
    "version|revision|firmware|release|serial|imei|iban|artnr|artikelnummer",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_DATES_REMARK = "it is text, although it looks like dates; declare a format, such as date:%d.%m.%Y, to sort it by time"


@dataclass(frozen=True)
class Inferred:
    """What the values of a column say about its kind.

    - `kind`: the kind.
    - `declaration`: what a catalogue keeps to convert later values alike; "" if no value decides it.
    - `remark`: what the owner of the column should know, "" if nothing.
    """

    kind: Kind
    declaration: Declaration
    remark: str = ""


def infer(name: str, evidence: ColumnEvidence) -> Inferred:
    """Infer the kind of the column `name` from what its values are evidence of."""
    total = evidence.scalars + max(evidence.lists, evidence.records)
    if evidence.records * _ODD_AMONG > total:
        return Inferred("mixed", "")
    if evidence.lists * _ODD_AMONG > total:
        kind: Kind = "texts" if evidence.has_text_items or not evidence.has_items else "numbers"
        return Inferred(kind, kind if evidence.has_items else "")
    return _infer_scalars(name, evidence)


def convert_all(distinct: Iterable[str | float], declaration: Declaration) -> list[Any]:
    """Convert values or items to the kind of `declaration`; None for one that is nothing or cannot be converted."""
    kind, convert = kind_of(declaration), item_converter(declaration)
    is_text = kind in ("text", "texts")
    return [None if is_nothing(value, text=is_text) else convert(value) for value in distinct]


@dataclass(frozen=True)
class OddValues:
    """The values of a column that are something, but cannot be converted to its kind.

    - `count`: the number of products that have such a value.
    - `examples`: a few of them, with the row of the first product that has each.
    """

    count: int
    examples: list[tuple[int, object]]


def find_odd(values: ColumnValues, declaration: Declaration) -> OddValues:
    """Find the values of a column that cannot be converted to the kind of `declaration`."""
    kind, convert = kind_of(declaration), item_converter(declaration)
    if kind == "mixed":
        return OddValues(0, [])
    is_text = kind in ("text", "texts")
    distinct = values.distinct
    odd = {i for i, value in enumerate(distinct) if convert(value) is None and not is_nothing(value, text=is_text)}
    rows = dict[int, object]()
    if odd:
        rows |= {row: distinct[code] for row, code in zip(values.rows, values.codes, strict=True) if code in odd}
    if kind in ("numbers", "texts"):
        pairs = zip(values.item_rows, values.item_codes, strict=True)
        rows |= {row: distinct[code] for row, code in pairs if code in odd} if odd else {}
        rows |= dict.fromkeys(values.record_rows, "a record")
    else:
        rows |= dict.fromkeys(values.list_rows, "a list") | dict.fromkeys(values.record_rows, "a record")
    first = {example: row for row, example in sorted(rows.items(), key=itemgetter(0), reverse=True)}
    return OddValues(len(rows), sorted((row, example) for example, row in first.items())[:3])


def _infer_scalars(name: str, evidence: ColumnEvidence) -> Inferred:
    texts, total = evidence.texts, evidence.numbers + evidence.texts.count
    if not texts.count:
        return Inferred("number", "number") if total else Inferred("text", "")
    words = {text.strip().lower() for text in texts.spellings or ()}
    if any(spellings <= words for spellings in _BOOL_WORDS) and _are_most(evidence.bits + texts.bools, total):
        return Inferred("bool", "bool")
    if evidence.numbers or not any(map(CODE_WORD.fullmatch, _WORDS.findall(name))):
        inferred = _infer_number(texts, total)
        if inferred is not None:
            return inferred
    if _are_most(texts.dates, total):
        return Inferred("date", "date")
    return Inferred("text", "text", _DATES_REMARK if _are_most(texts.day_first, total) else "")


def _infer_number(texts: TextEvidence, total: int) -> Inferred | None:
    """The kind of a column where texts may spell numbers; None unless more than half of its `total` values do."""
    odd = texts.count - texts.numbers
    if odd * 2 >= total:
        return None
    # One code is enough, for a column of codes has many that look like numbers.
    if not _are_most(total - odd, total) or texts.has_code:
        return Inferred("text", "text", f"it is text, since {texts.odd!r} is no number as most others are")
    if not odd and not texts.other_numbers:
        return Inferred("text", "text")  # of EANs, UPCs and the like
    return Inferred("number", "number:," if texts.marks == {","} else "number", _number_remark(texts))


def _number_remark(texts: TextEvidence) -> str:
    """What is doubtful about the numbers of a column."""
    if len(texts.units - {""}) > 1 or texts.units == {"", "%"}:
        listed = shorten_list(sorted(unit or "none" for unit in texts.units))
        return f"it has amounts with several units, {listed}, which are compared as they are"
    if len(texts.marks) > 1 and texts.doubtful is not None:
        number = number_of(texts.doubtful)
        return f"it has decimal points and decimal commas; {texts.doubtful!r} is read as {number}"
    return ""


def _are_most(count: int, total: int) -> bool:
    """Whether at least nine in ten of `total` values are among `count`."""
    return (total - count) * _ODD_AMONG <= total
