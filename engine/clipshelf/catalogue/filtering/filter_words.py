"""Filters as words: the inverse of `filter_parser`, and the terms that a filter joins with `and`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clipshelf.catalogue.filtering.conditions import Where
from clipshelf.catalogue.filtering.filter_tokens import ORDER_SIGNS, looks_numeric, quote
from clipshelf.display import describe


def to_words(where: Where) -> str:
    """Write a filter in words.

    - `where`: a dict of conditions, nested no deeper than a filter may be.

    Returns words that `filter_parser.parse_where` reads as an equal filter. What words cannot say, such as a list
    without items, is shown as Python shows it.
    """
    return " and ".join(map(_term, split_terms(where)))


def split_terms(where: Where) -> list[Where]:
    """Split a filter into the conditions that all must hold, each with one operator."""
    return list(_terms(where))


def _terms(where: Any) -> Iterator[Where]:
    for name, condition in where.items():
        if name == "and":
            for inner in condition:
                yield from _terms(inner)
        elif name in ("or", "not") or not isinstance(condition, Mapping):
            yield {name: condition}
        else:
            for operator, value in condition.items():
                yield {name: {operator: value}}


def _term(term: Where) -> str:
    [(name, condition)] = term.items()
    if name == "or" and condition:
        return " or ".join(map(_grouped, condition)) if len(condition) == 1 else f"({_any(condition)})"
    if name == "not" and condition:
        return f"not ({to_words(condition)})"
    if name in ("or", "not"):
        return describe(dict(term))
    operator, value = next(iter(condition.items())) if isinstance(condition, Mapping) else ("==", condition)
    return _test(quote(name), operator, value)


def _any(conditions: Any) -> str:
    return " or ".join(map(_grouped, conditions))


def _grouped(where: Any) -> str:
    """The words of one part of an `or`, which binds less than `and` does."""
    return to_words(where) or describe(where)


def _test(column: str, operator: str, value: Any) -> str:
    if value is None:
        return f"{column} is missing" if operator == "==" else f"{column} is not missing"
    if operator == "in":
        return f"{column} in ({', '.join(map(_value, value))})"
    if operator == "contains":
        return f"{column} contains {_value(value)}"
    words = _value(value)
    if operator in ORDER_SIGNS and words == value and looks_numeric(words):
        words = f'"{words}"'
    return f"{column}{'=' if operator == '==' else operator}{words}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("it"), str):
        return f"it.{value['it']}"
    if isinstance(value, str):
        return quote(value)
    return str(value).lower() if isinstance(value, bool) else describe(value, 400)
