"""Parses filters in words, such as `price<100 and category=shoes`, to the dicts that `filters` takes.

`docs/filters.md` explains the words to users: a column, an operator and a value; `and` joins conditions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clipshelf.errors import InputError

_CONDITION = re.compile(
    r"""\s*(?P<column>"[^"]+"|'[^']+'|[^\s=!<>"']+?)
        \s*(?P<operator>==|!=|<=|>=|=|<|>|\bin\b|\bcontains\b)
        \s*(?P<value>(?:"[^"]*"|'[^']*'|(?!\s+and\s)[^"'])+)
        (?:\s+and\s|$)""",
    re.VERBOSE,
)
_BETWEEN_COMMAS = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""")


def parse_where(text: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Parse a filter.

    - `text`: the filter in words.
    - `kinds`: the kind of each column by name; it decides whether a value is a number, true or false, or a string.

    Returns the filter as a dict. Raises InputError for text that is no filter.
    """
    conditions = []
    start = 0
    while start < len(text):
        match = _CONDITION.match(text, start)
        if not match:
            raise InputError(f"where: expected 'price<100 and category=shoes' or the like, found {text[start:]!r}")
        conditions.append(_condition(match, kinds))
        start = match.end()
    if not conditions:
        raise InputError("where: expected a condition, found a blank string")
    return conditions[0] if len(conditions) == 1 else {"and": conditions}


def _condition(match: re.Match[str], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The dict of one condition."""
    name, operator, value = _unquote(match["column"]), match["operator"], match["value"].strip()
    kind = kinds.get(name, "text").removesuffix("s")
    if operator == "in":
        return {name: {"in": [_value(name, kind, part.strip()) for part in _BETWEEN_COMMAS.findall(value)]}}
    return {name: {"==" if operator == "=" else operator: _value(name, kind, value)}}


def _value(name: str, kind: str, value: str) -> Any:
    """A value in the type of its column."""
    if kind == "number":
        try:
            return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        except ValueError:
            raise InputError(f"where: {name}: expected a number, found {value!r}") from None
    if kind == "bool" and value in ("true", "false"):
        return value == "true"
    if (text := _unquote(value)) != value:
        return text
    if any(sign in value for sign in "=<>"):
        raise InputError(
            f"where: {name}: expected quotes around a value with = < or >, found {value}; only `and` joins"
        )
    return value


def _unquote(text: str) -> str:
    """The text between quotes, or the text as it is where it stands in none."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
