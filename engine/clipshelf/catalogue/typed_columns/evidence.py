"""What the values of a column are evidence of, in numbers that add up, from which its kind is inferred.

The evidence of parts of the products adds up to that of all, and does not grow with them: so the kinds of columns are
decided for catalogues whose values fit into no memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clipshelf.catalogue.typed_columns.cells import bool_of, is_code, is_iso_date, is_nothing, read_number
from clipshelf.catalogue.typed_columns.column_values import ColumnValues, gather_columns
from clipshelf.types import Product

# A column of true and false has few spellings.
_MOST_SPELLINGS = 100
_DAY_FIRST = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1(?:[0-9]{4}|[0-9]{2})(?:[ T][0-9:]+)?")
_GTIN_LENGTHS = (12, 13, 14)


@dataclass(frozen=True)
class TextEvidence:
    """What the texts of a column spell; those that spell nothing, such as N/A, are left out.

    - `count`: how many values are text.
    - `spellings`: the distinct ones, None where they are more than 100.
    - `numbers`: how many spell a number that is no code.
    - `other_numbers`: how many of these are no EAN, UPC or other GTIN.
    - `bools`, `dates`, `day_first`: how many spell true or false, a date in ISO 8601, and look like another date.
    - `has_code`: whether one is a code, such as 0042.
    - `marks`, `units`: decimal marks and units of the numbers.
    - `odd`, `doubtful`: the first text that is no number, and the first number that dot and comma read differently.
    """

    count: int = 0
    spellings: frozenset[str] | None = frozenset()
    numbers: int = 0
    other_numbers: int = 0
    bools: int = 0
    dates: int = 0
    day_first: int = 0
    has_code: bool = False
    marks: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    odd: str | None = None
    doubtful: str | None = None

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> TextEvidence:
        """The evidence of distinct texts, each with how often it occurs."""
        numbers = other_numbers = bools = dates = day_first = 0
        marks, units = set[str](), set[str]()
        odd: str | None = None
        doubtful: str | None = None
        has_code = False
        for text, count in counts.items():
            cell, code = read_number(text), is_code(text)
            has_code |= code
            if cell is None or code:
                odd = text if odd is None else odd
            else:
                numbers += count
                other_numbers += 0 if _is_gtin(text) else count
                marks.add(cell.mark)
                units.add(cell.unit.upper().rstrip("."))
                if doubtful is None and cell.value != cell.comma_value:
                    doubtful = text
            bools += count if bool_of(text) is not None else 0
            dates += count if is_iso_date(text) else 0
            day_first += count if _DAY_FIRST.fullmatch(text) else 0
        return cls(
            sum(counts.values()),
            frozenset(counts) if len(counts) <= _MOST_SPELLINGS else None,
            numbers,
            other_numbers,
            bools,
            dates,
            day_first,
            has_code,
            frozenset(marks - {""}),
            frozenset(units),
            odd,
            doubtful,
        )

    def __add__(self, other: TextEvidence) -> TextEvidence:
        spellings = None
        if self.spellings is not None and other.spellings is not None:
            both = self.spellings | other.spellings
            spellings = both if len(both) <= _MOST_SPELLINGS else None
        return TextEvidence(
            self.count + other.count,
            spellings,
            self.numbers + other.numbers,
            self.other_numbers + other.other_numbers,
            self.bools + other.bools,
            self.dates + other.dates,
            self.day_first + other.day_first,
            self.has_code or other.has_code,
            self.marks | other.marks,
            self.units | other.units,
            other.odd if self.odd is None else self.odd,
            other.doubtful if self.doubtful is None else self.doubtful,
        )


@dataclass(frozen=True)
class ColumnEvidence:
    """What the values of a column are evidence of.

    - `scalars`: how many values are text or a number.
    - `lists`, `records`: how many are lists; how many are records, or lists that hold records or lists.
    - `numbers`: how many values are numbers; `bits`: how many of these are 0 or 1.
    - `texts`: of the values that are text.
    - `has_items`, `has_text_items`: whether there are values or items of lists, and whether one of them is text.
    """

    scalars: int = 0
    lists: int = 0
    records: int = 0
    numbers: int = 0
    bits: int = 0
    texts: TextEvidence = TextEvidence()
    has_items: bool = False
    has_text_items: bool = False

    @classmethod
    def of(cls, values: ColumnValues) -> ColumnEvidence:
        """The evidence of the values of one field."""
        counts, item_counts = values.counts, values.item_counts
        something = {value: count for value, count in counts.items() if not is_nothing(value, text=False)}
        numbers = {value: count for value, count in something.items() if not isinstance(value, str)}
        texts = {value: count for value, count in something.items() if isinstance(value, str)}
        return cls(
            len(values.rows),
            len(values.list_rows),
            len(values.record_rows),
            sum(numbers.values()),
            sum(count for value, count in numbers.items() if bool_of(value) is not None),
            TextEvidence.of(texts),
            bool(item_counts or counts),
            any(isinstance(item, str) for item in (*item_counts, *counts)),
        )

    def __add__(self, other: ColumnEvidence) -> ColumnEvidence:
        return ColumnEvidence(
            self.scalars + other.scalars,
            self.lists + other.lists,
            self.records + other.records,
            self.numbers + other.numbers,
            self.bits + other.bits,
            self.texts + other.texts,
            self.has_items or other.has_items,
            self.has_text_items or other.has_text_items,
        )

    def __bool__(self) -> bool:
        """Whether any product has a value."""
        return bool(self.scalars or self.lists or self.records)


def gather_evidence(products: Iterable[Product]) -> dict[str, ColumnEvidence]:
    """The evidence of the fields of products, by field; id, text and image are left out."""
    return {name: ColumnEvidence.of(values) for name, values in gather_columns(products)[1].items()}


def _is_gtin(text: str) -> bool:
    """Whether digits are an EAN, UPC or other GTIN, by their number and their last digit, which checks the others."""
    if not text.isdecimal() or len(text) not in _GTIN_LENGTHS:
        return False
    return sum(int(digit) * (3 if i % 2 else 1) for i, digit in enumerate(reversed(text))) % 10 == 0
