from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clipshelf import Interaction
from clipshelf.errors import InputError
from clipshelf.recommend.times import seconds
from hypothesis import given
from hypothesis import strategies as st

MAY_2020 = 1588687728
MIDNIGHT = 1588636800


@pytest.mark.parametrize(
    "time",
    [
        MAY_2020,
        MAY_2020 * 1000,
        MAY_2020 * 10**6,
        MAY_2020 * 10**9,
        float(MAY_2020),
        str(MAY_2020),
        f"{MAY_2020 * 1000}",
        f" {MAY_2020}.0 ",
        "2020-05-05T14:08:48Z",
        "20200505T140848",
        np.int64(MAY_2020 * 10**9),
        np.float64(MAY_2020),
        datetime(2020, 5, 5, 14, 8, 48),
        datetime(2020, 5, 5, 16, 8, 48, tzinfo=timezone(timedelta(hours=2))),
        np.datetime64(MAY_2020, "s"),
        np.datetime64(MAY_2020 * 10**9, "ns"),
        pd.Timestamp(MAY_2020, unit="s"),
        pd.Timestamp("2020-05-05 10:08:48", tz="America/New_York"),
        pd.Series(pd.to_datetime([MAY_2020], unit="s")).iloc[0],
    ],
)
def test_a_time_in_any_form(time: Any) -> None:
    assert seconds(time) == MAY_2020
    event = Interaction("a", "bought", time)
    assert event.time == MAY_2020 and event.faded(MAY_2020 + 60 * 86400, 30 * 86400) == 0.25


@pytest.mark.parametrize("day", ["2020-05-05", "20200505", date(2020, 5, 5), np.datetime64("2020-05-05")])
def test_a_day_is_its_midnight(day: Any) -> None:
    assert seconds(day) == MIDNIGHT


@pytest.mark.parametrize(
    "time",
    [
        pd.NaT,
        np.datetime64("NaT"),
        math.nan,
        math.inf,
        None,
        True,
        "",
        "yesterday",
        "2026",
        "5",
        "9" * 400,
        10**30,
        10**5000,
        7.3e9,  # seconds of 2201, or milliseconds of March 1970
        9.9e10,
        8e12,
        8e15,
        8e18,
        -(10**20),
        datetime(9999, 12, 31),
        date(2200, 1, 2),
        np.datetime64("2500-01-01"),
        timedelta(1),
        [MAY_2020],
        {"$date": MAY_2020},
    ],
    ids=lambda time: type(time).__name__,
)
def test_what_is_no_clear_time_is_refused(time: Any) -> None:
    with pytest.raises(InputError, match=r"^time: expected "):
        seconds(time)
    with pytest.raises(InputError, match=r"^time: expected "):
        Interaction.of(("a", "bought", time))


@given(st.one_of(st.floats(), st.integers(), st.datetimes(), st.dates(), st.text()))
def test_no_time_is_later_than_2200(time: Any) -> None:
    try:
        value = seconds(time)
    except InputError:
        return
    assert math.isfinite(value) and value <= datetime(2200, 1, 1, tzinfo=UTC).timestamp()


@given(st.datetimes(datetime(1974, 1, 1), datetime(2100, 1, 1)), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_every_unit_of_the_last_decades_is_told_apart(moment: datetime, unit: int) -> None:
    since = int(moment.replace(tzinfo=UTC).timestamp())
    assert seconds(since * unit) == since
