"""Reads the values of columns as tools and people write them: numbers, true and false, dates, and nothing.

Each function returns the value that filters compare, or None for a value that it cannot read. `docs/catalogues.md`
lists what is read.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from clipshelf.catalogue.typed_columns.kinds import Declaration, kind_of

# Spellings that stand for no value in every column. Others, such as `none` and `NA`, may be words in a text.
_NOTHING = re.compile(r"(?:--?|\u2013|\u2014|N/A|n/a|#N/A|NULL|null|None|NaN|nan|NaT|<NA>|\\N)?")
# Spellings, in any case, that stand for no value where a number, a date, true or false is expected.
_NO_VALUE = re.compile(r"\?|na|n\.a\.|#na|none|nil|-nan|undefined|n/a|#n/a|null|nan|nat|<na>|\\n", re.IGNORECASE)
_LONGEST_NOTHING = len("undefined")

_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(\.[0-9]+)?")
_DIGIT = re.compile("[0-9]")
_LONGEST_NUMBER = 64
_CURRENCY = (
    r"(?:(?:US|CA|AU|NZ|HK|C|A|R|S)?\$|[£¥€¢₩₪₫₹₺₽₴₦₱฿₿]|Rs\.?|kr\.?|zł|Kč|Ft|lei|Fr\.?|"
    r"AED|ARS|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|ISK|JPY|KRW|MXN|MYR|NOK|NZD|PEN|"
    r"PHP|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR)"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?) ?(?P<before>{_CURRENCY}?) ?(?P<sign2>[+-]?)"
    rf"(?P<body>[0-9][0-9.,' ]*|[.,][0-9]+)(?P<exponent>(?:e[+-]?[0-9]{{1,3}})?)(?:[.,][-\u2013])?"
    rf" ?(?P<after>(?:{_CURRENCY}|%)?)",
    re.IGNORECASE,
)
_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'", "\t": " "})
_GROUPS = re.compile(r"[0-9]{1,3}(?:([.,' ])[0-9]{3})(?:\1[0-9]{3})*|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}")

_BOOLS = {
    **dict.fromkeys(("true", "yes", "y", "t", "on", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "off", "0", "0.0"), False),
}

_ISO_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,](?P<fraction>[0-9]{1,12}))?"
    r" ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_EPOCH_DIGITS = re.compile(r"[0-9]{9,19}")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def is_nothing(value: Any, *, text: bool = True) -> bool:
    """Whether a value stands for no value: None, NaN, a blank string, or a spelling of nothing such as N/A.

    - `text`: whether the value is one of a text column, where `none` and `NA` are words.
    """
    if isinstance(value, str):
        value = value.strip()
        return len(value) <= _LONGEST_NOTHING and bool(
            _NOTHING.fullmatch(value) or (not text and _NO_VALUE.fullmatch(value))
        )
    return value is None or (isinstance(value, float) and math.isnan(value))


class NumberCell(NamedTuple):
    """A number as it is written.

    - `value`: what it is where a dot is the decimal mark.
    - `comma_value`: what it is where a comma is; another number only for a cell such as 1.099 or 1,099.
    - `mark`: the decimal mark that its form shows, "." or ","; "" where its form does not show it.
    - `unit`: the currency or percent sign beside it, "" for none.
    """

    value: float
    comma_value: float
    mark: str
    unit: str


def read_number(text: str) -> NumberCell | None:
    """Read a number with its currency, its thousands separators and its decimal mark; None for other text."""
    plain = _PLAIN_NUMBER.fullmatch(text)
    if plain and len(plain[1] or "") != 4:
        value = float(text) if plain[1] else int(text)
        return NumberCell(value, value, "." if plain[1] else "", "")
    if len(text) > _LONGEST_NUMBER or not _DIGIT.search(text):
        return None
    match = _NUMBER.fullmatch(text.translate(_BLANKS).strip())
    if match is None or (match["sign"] and match["sign2"]) or (match["before"] and match["after"]):
        return None
    body, sign = match["body"].rstrip(" "), match["sign"] or match["sign2"]
    readings = _readings(body)
    if readings is None:
        return None
    values = [_to_number(f"{sign}{digits}{match['exponent']}") for digits in readings[:2]]
    if values[0] is None or values[1] is None:
        return None
    return NumberCell(values[0], values[1], readings[2], match["before"] or match["after"])


def number_of(value: Any, mark: str = ".") -> float | None:
    """Return the finite number that `value` is or spells; `mark` is the decimal mark of a cell such as 1.099."""
    if isinstance(value, str):
        plain = _PLAIN_NUMBER.fullmatch(value)
        if plain and (mark == "." or not plain[1]):
            return float(value) if plain[1] else int(value)
        cell = read_number(value)
        return None if cell is None else cell.value if mark == "." else cell.comma_value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def plain_number(text: str) -> float | None:
    """Return the number of a cell that is spelt as JSON spells it, with at most 15 digits before a dot; else None."""
    match = _PLAIN_NUMBER.fullmatch(text)
    return None if match is None else float(text) if match[1] else int(text)


def is_code(text: str) -> bool:
    """Whether digits are a code and no number: they begin with a zero, or are more than 15."""
    digits = text.strip()
    return digits.isdecimal() and ((digits[0] == "0" and len(digits) > 1) or len(digits) > 15)


def bool_of(value: Any) -> bool | None:
    """Return true or false for a value that is it or spells it: true, yes, y, t, on, 1 and their opposites."""
    if isinstance(value, str):
        return _BOOLS.get(value.strip().lower())
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def text_of(value: Any) -> str | None:
    """Return a text as it is, true and false as JSON spells them, and a number, of which equal ones have one text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (int, float)) else None


def is_iso_date(text: str) -> bool:
    """Whether a text is a date in ISO 8601."""
    return _ISO_DATE.fullmatch(text.strip()) is not None and date_of(text) is not None


def date_of(value: Any, pattern: str = "") -> str | None:
    """Return a date as an ISO string that sorts by time, in UTC where the value names a zone.

    - `value`: text in ISO 8601 or in the form `pattern`; or a number, or its digits, of seconds, milli-, micro- or
      nanoseconds since 1970, which its size tells apart.
    - `pattern`: a format as of `datetime.strptime`.

    Midnight gives the day alone, `2026-05-01`; any other time `2026-05-01T09:30:00`.
    """
    try:
        if isinstance(value, str):
            moment = _parse_date(value.strip(), pattern) or _from_epoch_digits(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            moment = _from_epoch(value)
        else:
            moment = None
        if moment is None:
            return None
        moment = moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return moment.date().isoformat() if moment.time() == datetime.time() else moment.isoformat()


def item_converter(declaration: Declaration) -> Callable[[Any], Any]:
    """Return the function that converts a value, or an item of a list, to the kind of `declaration`.

    It returns None for what it cannot convert.
    """
    kind, argument = kind_of(declaration).removesuffix("s"), declaration.partition(":")[2]
    if kind == "number":
        return lambda value: number_of(value, argument or ".")
    if kind == "date":
        return lambda value: date_of(value, argument)
    return {"bool": bool_of, "text": text_of}.get(kind, lambda _: None)


def _readings(body: str) -> tuple[str, str, str] | None:
    """The digits of a number with a dot as its decimal mark, if a dot, and if a comma is; and which its form shows."""
    last = max(body.rfind("."), body.rfind(","))
    if last < 0:
        digits = _ungrouped(body)
        return None if digits is None else (digits, digits, "")
    mark = body[last]
    whole, fraction = body[:last], body[last + 1 :]
    other = "," if mark == "." else "."
    as_decimal = _ungrouped(whole, without=mark) if fraction.isdecimal() or not fraction else None
    as_group = _ungrouped(body) if body.count(mark) == len(re.findall(r"[.,]", body)) else None
    decimal = None if as_decimal is None else f"{as_decimal or '0'}.{fraction or '0'}"
    if decimal is not None and as_group is not None:
        return (decimal, as_group, "") if mark == "." else (as_group, decimal, "")
    digits, shown = (decimal, mark) if decimal is not None else (as_group, other)
    return None if digits is None else (digits, digits, shown)


def _ungrouped(digits: str, without: str = "") -> str | None:
    """Digits without the separators of their groups, None where these are no groups, or are parted by `without`."""
    if digits.isdecimal() or not digits:
        return digits
    match = _GROUPS.fullmatch(digits)
    if match is None or digits[0] == "0" or (without and without in digits):
        return None
    return re.sub("[^0-9]", "", digits)


def _to_number(text: str) -> float | None:
    if text.lstrip("+-").isdecimal():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


def _parse_date(text: str, pattern: str) -> datetime.datetime | None:
    if pattern:
        try:
            return datetime.datetime.strptime(text, pattern)
        except ValueError:
            pass
    match = _ISO_DATE.fullmatch(text)
    if match is None:
        return None
    zone = (match["zone"] or "").replace("UTC", "Z").replace("GMT", "Z")
    time = f"{match['time'] or '00:00'}:00"[:8]
    fraction = f".{match['fraction'][:6]:0<6}" if match["fraction"] else ""
    return datetime.datetime.fromisoformat(f"{match['day']}T{time}{fraction}{zone}")


def _from_epoch_digits(text: str) -> datetime.datetime | None:
    return _from_epoch(int(text)) if _EPOCH_DIGITS.fullmatch(text) else None


def _from_epoch(number: float) -> datetime.datetime:
    """A moment of seconds since 1970; numbers that are centuries ahead as seconds are milliseconds, and so on."""
    for power in (0, 3, 6, 9):
        if abs(number) < 1e11 * 10**power:
            return _EPOCH + datetime.timedelta(seconds=number / 10**power)
    raise OverflowError
