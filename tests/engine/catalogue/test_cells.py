from __future__ import annotations

import time
from typing import Any

import pytest
from clipshelf.catalogue.typed_columns.cells import bool_of, date_of, is_nothing, number_of, text_of


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("89.90", 89.9),
        ("89,90", 89.9),
        ("1,099.00", 1099),
        ("1.099,00", 1099),
        ("1,099", 1099),
        ("12,345,678.90", 12345678.9),
        ("1.099.000", 1099000),
        ("1,09,900.00", 109900),
        ("1'099.50", 1099.5),
        ("1 099,50", 1099.5),
        ("1\u00a0099,00 €", 1099),
        ("1\u202f099 €", 1099),
        ("€ 12", 12),
        ("$5", 5),
        ("-$5.50", -5.5),
        ("$-5.50", -5.5),
        ("R$ 1.234,56", 1234.56),
        ("12.50 USD", 12.5),
        ("usd 12.50", 12.5),
        ("499,00 kr.", 499),
        ("45.-", 45),
        ("12 %", 12),
        ("12.5%", 12.5),
        ("1e3", 1000),
        ("1.5E-03", 0.0015),
        ("+5", 5),
        ("\u22125", -5),
        (" 7 ", 7),
        ("007", 7),
        (".5", 0.5),
        (",5", 0.5),
        ("0,123", 0.123),
        ("1234,567", 1234.567),
        (3, 3),
        (2.5, 2.5),
        (10**400, 10**400),
        *[
            (cell, None)
            for cell in (
                "",
                "-",
                "N/A",
                "12 kg",
                "1,2,3",
                "1.2.3",
                "1 2",
                "1,234.5.6",
                "12,34.5",
                "1e400",
                "--5",
                "$5$",
            )
        ],
        *[(cell, None) for cell in ("9" * 65, "inf", "0x10", "1_000", "\u0663", True, float("inf"), [1], None)],
    ],
)
def test_numbers(cell: Any, number: float | None) -> None:
    assert number_of(cell) == number


def test_a_decimal_comma_decides_what_a_comma_or_dot_before_three_digits_is() -> None:
    assert [number_of(cell, ",") for cell in ("1.099", "1,099", "89,90", "45.5", "7")] == [1099, 1.099, 89.9, 45.5, 7]


def test_numbers_take_linear_time() -> None:
    start = time.perf_counter()
    for cell in ("1," * 50_000, " " * 100_000, "1 " * 31, "$" * 60, "1" + "," * 62, "." * 64):
        assert number_of(cell) is None
    assert time.perf_counter() - start < 1


def test_nothing() -> None:
    cells: list[Any] = [
        "",
        " ",
        "N/A",
        "n/a",
        "None",
        "NULL",
        "\\N",
        "nan",
        "NaN",
        "-",
        "<NA>",
        "NaT",
        None,
        float("nan"),
    ]
    assert all(map(is_nothing, cells))
    for word in ("none", "NA", "?", "na"):
        assert not is_nothing(word) and is_nothing(word, text=False)
    values: list[Any] = ["0", 0, False, "no", [], "--size"]
    assert not any(is_nothing(value, text=False) for value in values)


def test_true_and_false() -> None:
    assert [bool_of(cell) for cell in ("True", "yes", " Y ", "1", 1, True, "on", 1.0)] == [True] * 8
    assert [bool_of(cell) for cell in ("FALSE", "no", "n", "0", 0, False, "off")] == [False] * 7
    others: list[Any] = ["maybe", 2, "", None, [], float("nan")]
    assert [bool_of(cell) for cell in others] == [None] * 6


def test_texts() -> None:
    values: list[Any] = ["x", True, 42, 42.0, 0.5, {}, []]
    assert [text_of(value) for value in values] == ["x", "true", "42", "42", "0.5", None, None]
    assert text_of(1e20) == text_of(10**20) == "1" + "0" * 20


@pytest.mark.parametrize(
    ("cell", "pattern", "date"),
    [
        ("2026-05-01", "", "2026-05-01"),
        ("2026-05-01T00:00:00", "", "2026-05-01"),
        ("2026-05-01 00:00:00+00:00", "", "2026-05-01"),
        ("2026-05-01T09:30", "", "2026-05-01T09:30:00"),
        ("2026-05-01T09:30:00Z", "", "2026-05-01T09:30:00"),
        ("2026-05-01 09:30:00 UTC", "", "2026-05-01T09:30:00"),
        ("2026-05-01T01:30:00+02:00", "", "2026-04-30T23:30:00"),
        ("2026-05-01 09:30:00.123456789", "", "2026-05-01T09:30:00.123456"),
        ("1.5.2026", "%d.%m.%Y", "2026-05-01"),
        ("2026-05-01", "%d.%m.%Y", "2026-05-01"),
        (1588687728, "", "2020-05-05T14:08:48"),
        (1588687728000, "", "2020-05-05T14:08:48"),
        (1588687728000000, "", "2020-05-05T14:08:48"),
        (1588687728000000000, "", "2020-05-05T14:08:48"),
        ("2026-02-30", "", None),
        ("1.5.2026", "", None),
        ("0001-01-01T00:00+05:00", "", None),
        ("20260501", "", None),
        ("1588687728000", "", "2020-05-05T14:08:48"),
        (10**30, "", None),
        ("12345678", "", None),
        (True, "", None),
        ([], "", None),
    ],
)
def test_dates(cell: Any, pattern: str, date: str | None) -> None:
    assert date_of(cell, pattern) == date
