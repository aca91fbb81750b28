"""Infers the kind of a column from its values, and finds the values that do not fit a kind.

A kind is inferred where at least nine in ten of the values can be converted to it. Those that spell nothing, such as
N/A, do not count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from clipshelf.catalogue.messages import shorten_list
from clipshelf.catalogue.typed_columns.cells import (
    NumberCell,
    bool_of,
    is_code,
    is_iso_date,
    is_nothing,
    item_converter,
    number_of,
    read_number,
)
from clipshelf.catalogue.typed_columns.column_values import ColumnTally, ColumnValues
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
_GTIN_LENGTHS = (12, 13, 14)
# A column of true and false has few spellings.
_MAX_SPELLINGS = 100
_DAY_FIRST = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1(?:[0-9]{4}|[0-9]{2})(?:[ T][0-9:]+)?")
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


def infer(name: str, tally: ColumnTally) -> Inferred:
    """Infer the kind of the column `name` from what values it has."""
    total = tally.scalars + max(tally.lists, tally.records)
    if tally.records * _ODD_AMONG > total:
        return Inferred("mixed", "")
    if tally.lists * _ODD_AMONG > total:
        return _infer_lists(tally.item_counts + tally.counts)
    return _infer_scalars(name, tally.counts)


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


def _infer_lists(counts: Counter[str | float]) -> Inferred:
    """The kind of a column of lists, by their items."""
    if not counts:
        return Inferred("texts", "")
    kind: Kind = "texts" if any(isinstance(item, str) for item in counts) else "numbers"
    return Inferred(kind, kind)


def _infer_scalars(name: str, counts: Counter[str | float]) -> Inferred:
    counts = Counter({value: count for value, count in counts.items() if not is_nothing(value, text=False)})
    texts = Counter({value: count for value, count in counts.items() if isinstance(value, str)})
    total = counts.total()
    if not texts:
        return Inferred("number", "number") if total else Inferred("text", "")
    if _is_bool(counts, texts):
        return Inferred("bool", "bool")
    if len(texts) < len(counts) or not any(map(CODE_WORD.fullmatch, _WORDS.findall(name))):
        inferred = _infer_number(texts, total)
        if inferred is not None:
            return inferred
    if _fits_most(texts, is_iso_date, total):
        return Inferred("date", "date")
    looks_like_dates = _fits_most(texts, _DAY_FIRST.fullmatch, total)
    return Inferred("text", "text", _DATES_REMARK if looks_like_dates else "")


def _is_bool(counts: Counter[str | float], texts: Counter[str]) -> bool:
    words = {text.strip().lower() for text in texts} if len(texts) <= _MAX_SPELLINGS else set()
    return any(spellings <= words for spellings in _BOOL_WORDS) and _fits_most(
        counts, lambda value: bool_of(value) is not None, counts.total()
    )


def _infer_number(texts: Counter[str], total: int) -> Inferred | None:
    """The kind of a column where `texts` may spell numbers; None unless more than half of its `total` values do."""
    cells: dict[str, NumberCell] = {}
    odd: list[str] = []
    odd_count = 0
    for text, count in texts.items():
        cell = read_number(text)
        if cell is not None and not is_code(text):
            cells[text] = cell
            continue
        odd.append(text)
        # One code is enough, for a column of codes has many that look like numbers.
        odd_count += count
        if odd_count * 2 >= total:
            return None
    if odd_count * _ODD_AMONG > total or any(map(is_code, odd)):
        return Inferred("text", "text", f"it is text, since {odd[0]!r} is no number as most others are")
    if len(cells) == len(texts) and all(map(_is_gtin, cells)):
        return Inferred("text", "text")
    marks = {cell.mark for cell in cells.values()} - {""}
    return Inferred("number", "number:," if marks == {","} else "number", _number_remark(cells, marks))


def _number_remark(cells: Mapping[str, NumberCell], marks: set[str]) -> str:
    """What is doubtful about the numbers of a column."""
    units = {cell.unit.upper().rstrip(".") for cell in cells.values()}
    if len(units - {""}) > 1 or units == {"", "%"}:
        listed = shorten_list(sorted(unit or "none" for unit in units))
        return f"it has amounts with several units, {listed}, which are compared as they are"
    doubtful = [text for text, cell in cells.items() if cell.value != cell.comma_value]
    if len(marks) > 1 and doubtful:
        return f"it has decimal points and decimal commas; {doubtful[0]!r} is read as {number_of(doubtful[0])}"
    return ""


def _fits_most(counts: Counter[Any], test: Callable[[Any], Any], total: int) -> bool:
    """Whether `test` holds for nearly all of `total` values, those of `counts` among them."""
    odd = total - counts.total()
    for value, count in counts.items():
        if odd * _ODD_AMONG > total:
            return False
        if not test(value):
            odd += count
    return odd * _ODD_AMONG <= total


def _is_gtin(text: str) -> bool:
    """Whether digits are an EAN, UPC or other GTIN, by their number and their last digit, which checks the others."""
    if not text.isdecimal() or len(text) not in _GTIN_LENGTHS:
        return False
    return sum(int(digit) * (3 if i % 2 else 1) for i, digit in enumerate(reversed(text))) % 10 == 0
