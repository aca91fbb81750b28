"""JSON from outside: what is too deep is refused, in linear time."""

from __future__ import annotations

import json

import pytest
from clipshelf.errors import InputError
from clipshelf.json_parsing import MAX_DEPTH, parse_json


def test_levels_are_counted_outside_of_strings() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(deepest) == json.loads(deepest)
    assert parse_json(json.dumps({"a": "[{" * 200, "b": 'x"[' * 200})) == {"a": "[{" * 200, "b": 'x"[' * 200}
    with pytest.raises(InputError, match=f"expected JSON of at most {MAX_DEPTH} levels, found {MAX_DEPTH + 1}"):
        parse_json(f'{{"a": {deepest}}}')


@pytest.mark.parametrize("tail", ['"' + '\\"' * 2_000_000, '"' * 2_000_001, '"' + "x" * 2_000_000])
def test_a_string_without_an_end_is_read_once(tail: str) -> None:
    with pytest.raises(ValueError):
        parse_json("[" * (MAX_DEPTH + 1) + tail)
    with pytest.raises(ValueError):
        parse_json("[1]," * (MAX_DEPTH + 1) + tail)
