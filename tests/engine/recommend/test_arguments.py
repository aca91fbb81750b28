from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf.errors import InputError
from clipshelf.recommend.arguments import check_number, check_path, is_number, strengths
from clipshelf.recommend.times import seconds

NOW = 1_800_000_000.0


@pytest.mark.parametrize("value", [0, -1.5, math.inf, np.float32(2), np.int64(3), Fraction(1, 3)])
def test_real_numbers_are_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, math.nan, np.nan, "1", None, 1j, Decimal(1), 10**400])
def test_anything_else_is_no_number(value: Any) -> None:
    assert not is_number(value)


def test_a_number_in_its_range_becomes_a_float() -> None:
    value = check_number("diversity", np.float32(0.5), 0, 1)
    assert value == 0.5 and type(value) is float
    assert (check_number("x", 0, 0, 1), check_number("x", 1, 0, 1)) == (0.0, 1.0)
    with pytest.raises(InputError, match=r"x: expected a number from 0 to 1, found 1\.5"):
        check_number("x", 1.5, 0, 1)


def test_times_become_seconds_since_1970() -> None:
    east = timezone(timedelta(hours=2))
    for time in (NOW, int(NOW), "2027-01-15T08:00:00Z", "2027-01-15T10:00:00+02:00", "2027-01-15T08:00:00"):
        assert seconds(time) == NOW
    for moment in (
        datetime(2027, 1, 15, 8, tzinfo=UTC),
        datetime(2027, 1, 15, 10, tzinfo=east),
        datetime(2027, 1, 15, 8),
    ):
        assert seconds(moment) == NOW
    for wrong in (None, math.inf, True, [NOW]):
        with pytest.raises(InputError, match="time: expected seconds since 1970, a datetime or ISO 8601"):
            seconds(wrong)


def test_strengths_of_an_id_add_up() -> None:
    assert strengths("liked", ["a", ("b", 2), "a", ("b", 0.5)]) == {"a": 2.0, "b": 2.5}
    assert strengths("liked", {"a": 3}) == {"a": 3.0} and strengths("liked", ()) == {}


def test_paths_become_strings() -> None:
    assert check_path("images", Path("a/b.png")) == str(Path("a/b.png")) and check_path("images", "c") == "c"
    with pytest.raises(InputError, match="images: expected a path, found bytes"):
        check_path("images", b"c")
