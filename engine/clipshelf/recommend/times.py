"""Times of events in whatever form programs keep them, as seconds since 1970."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import numpy as np

from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.recommend.arguments import is_number

# A number since 1970, an ISO 8601 string, a date or a datetime, also of NumPy or pandas; UTC where no zone is given.
Time: TypeAlias = float | str | date | datetime | np.datetime64

# 2200-01-01. An event of a later time would never fade.
_LATEST = 7_258_118_400.0
# What programs count since 1970, as a share of a second, and the least number that is taken for it. The ranges do not
# overlap: what lies below is of early 1973, and in the unit before later than 2200.
_UNITS = ((1.0, 0.0), (1e3, 1e11), (1e6, 1e14), (1e9, 1e17))
# A string of more digits than a date in ISO form has.
_DIGITS = re.compile(r"[+-]?[0-9]{9,20}(\.[0-9]{1,9})?")

_HALF_LIFE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(h|d|w|y)?", re.IGNORECASE)
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.25}
_SHORTEST, _LONGEST = 1 / 86_400, 1e6  # days

_EXPECTED = "time: expected seconds since 1970, a datetime or ISO 8601"


def seconds(time: Any) -> float:
    """Convert a time to seconds since 1970.

    - `time`: a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size; a
      string with such a number or with a date in ISO 8601; a date, a datetime, or a value of NumPy's or pandas' types
      for them. UTC where no zone is given.

    Raises InputError for anything else, for no time (NaT), and for a time after 2200.
    """
    if isinstance(time, str):
        time = _from_text(time)
    elif isinstance(time, np.datetime64):
        time = _from_numpy(time)
    if isinstance(time, date):
        return _in_range(time, _from_date(time))
    if not is_number(time) or not math.isfinite(time):
        raise InputError(f"{_EXPECTED}, found {describe(time)}")
    for unit, least in _UNITS:
        if least <= abs(time) <= _LATEST * unit:
            return float(time) / unit
    raise InputError(
        f"{_EXPECTED}, found {describe(time)}, which is after 2200 in seconds and no usual number of "
        "milliseconds, microseconds or nanoseconds"
    )


def half_life_days(name: str, value: Any) -> float:
    """A half-life in days: a number of them, or text such as "30d", "12h" or "2w".

    - `name`: of the column, for the message. Raises InputError.
    """
    days = value
    if isinstance(value, str) and (match := _HALF_LIFE.fullmatch(value.strip())):
        days = float(match[1]) * _DAYS[(match[2] or "d").lower()]
    if not is_number(days) or not _SHORTEST <= days <= _LONGEST:
        raise InputError(
            f'fresh: {describe(name)}: expected a half-life in days, or such as "30d", "12h" or "2w", '
            f"found {describe(value)}"
        )
    return float(days)


def _from_text(text: str) -> datetime | float:
    if _DIGITS.fullmatch(text.strip()):
        return float(text)
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"time: expected ISO 8601, found {describe(text)}") from None


def _from_numpy(time: np.datetime64) -> float:
    """Seconds of NumPy's time; NaN for none."""
    if np.isnat(time):
        return math.nan
    return float((time - np.datetime64(0, "s")) / np.timedelta64(1, "s"))


def _from_date(day: date) -> float:
    """Seconds of a date, which stands for its midnight, or of a datetime; NaN for pandas' NaT."""
    try:
        time = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _in_range(time: date, value: float) -> float:
    if math.isnan(value):
        raise InputError(f"{_EXPECTED}, found {describe(time)}")
    if value > _LATEST:
        raise InputError(f"time: expected a time before 2200, found {describe(time)}")
    return value
