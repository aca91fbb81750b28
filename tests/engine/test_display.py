from __future__ import annotations

import json
from typing import Any

import pytest
from clipshelf.display import describe, json_text, printable
from hypothesis import given
from hypothesis import strategies as st

HIDDEN = "\x00\x1b\x7f\x9b\u2028\u202e\u2066\ud83d"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        [*range(10**5)],
        nested(100_000),
        10**5000,
        -(10**5000),
        Broken(),
        {"a": nested(5000)},
        HIDDEN,
        b"\xff",
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_is_described_in_one_short_line(value: Any) -> None:
    line = describe(value)
    assert 0 < len(line) < 400 and line.isprintable()


def test_small_values_are_described_as_python_shows_them() -> None:
    for value in (5, -1.5, None, True, "red", ["like"], ("a", 2), {"a": 1}, float("nan")):
        assert describe(value) == repr(value)


def test_control_characters_become_escapes() -> None:
    assert printable("a\x1b[31m\n\u202e\ud83d") == "a\\x1b[31m\\n\\u202e\\ud83d"
    family = "\U0001f468\u200d\U0001f469"
    assert printable(f"Größe {family} \u0928\u094d\u200d") == f"Größe {family} \u0928\u094d\u200d"


@given(st.recursive(st.text(st.characters(codec=None)), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_is_read_back_and_shows_no_control_characters(value: Any) -> None:
    for encoding in ("utf-8", "ascii", "cp1252"):
        text = json_text(value, encoding=encoding)
        assert json.loads(text) == value
        assert printable(text) == text and text.encode(encoding)


def test_json_has_no_nan() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON compliant"):
            json_text({"score": value})
