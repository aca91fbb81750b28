"""Filters in words, for command lines: `price<100 and category=shoes`.

A column, an operator (= == != < <= > >= in contains) and a value; `and` joins conditions. The column says what the
value is: a number, true or false, or a text, which may stand in quotes, and must where it holds = < or >. After `in`
come values with commas between, in quotes where they hold one. A column with a space in its name stands in quotes.
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
    """The filter dict that `text` says, for columns of these kinds; raises InputError where it says none."""
    conditions = []
    place = 0
    while place < len(text):
        match = _CONDITION.match(text, place)
        if not match:
            raise InputError(f"where: expected 'price<100 and category=shoes' or the like, found {text[place:]!r}")
        name, operator, value = _unquoted(match["column"]), match["operator"], match["value"].strip()
        kind = kinds.get(name, "text").removesuffix("s")
        parts = _BETWEEN_COMMAS.findall(value) if operator == "in" else [value]
        values = [_typed(name, kind, part.strip()) for part in parts]
        wanted = values if operator == "in" else values[0]
        conditions.append({name: {"==" if operator == "=" else operator: wanted}})
        place = match.end()
    if not conditions:
        raise InputError("where: expected a condition, found a blank string")
    return conditions[0] if len(conditions) == 1 else {"and": conditions}


def _typed(name: str, kind: str, value: str) -> Any:
    """A value as its column has it."""
    if kind == "number":
        try:
            return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        except ValueError:
            raise InputError(f"where: {name}: expected a number, found {value!r}") from None
    if kind == "bool" and value in ("true", "false"):
        return value == "true"
    if (text := _unquoted(value)) != value:
        return text
    if any(sign in value for sign in "=<>"):
        raise InputError(
            f"where: {name}: expected quotes around a value with = < or >, found {value}; only `and` joins"
        )
    return value


def _unquoted(text: str) -> str:
    """What stands between quotes, or the text as it is."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
