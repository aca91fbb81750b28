"""Parses filters in words, such as `price<100 and category=shoes`, to the dicts that `filters` takes.

`docs/filters.md` explains the language to users. Its grammar, in which quotes stand around what is written as it is:

    filter    = all { "or" all }
    all       = condition { "and" condition }
    condition = "not" condition | "(" filter ")" | column test
    test      = "is" [ "not" ] "missing"
              | [ "not" ] "in" list
              | [ "not" ] "contains" value
              | ( "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
    list      = "(" items [ "," ] ")" | "[" items [ "," ] "]" | value { "," value }
    items     = item { "," item }
    item      = string | reference | word
    value     = string | reference | word { word }
    reference = "it." column
    column    = string | word

A string stands in single or double quotes; a doubled quote within it stands for one. `filter_tokens` has words and
signs. The parser reads each token once and looks one ahead, so it takes time linear in the length of the filter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from clipshelf.catalogue.filtering.conditions import MAX_DEPTH
from clipshelf.catalogue.filtering.filter_tokens import (
    CONNECTIVES,
    NOTHING,
    OPERATOR_HINTS,
    ORDER_SIGNS,
    Token,
    looks_numeric,
    syntax_error,
    tokenise,
)
from clipshelf.errors import InputError

_SIGNS = ("=", "==", "!=", *ORDER_SIGNS)
_CLOSING = {"(": ")", "[": "]"}
_MAX_DIGITS = 400  # of a number; float64 has at most 309 before the point
_REFERENCE = re.compile(r"it\.(\S+)")
_BOOLS = {"true": True, "yes": True, "false": False, "no": False}
_OPERATORS = "an operator: = != < <= > >= in, contains or is missing"
_SEVERAL_VALUES = "to compare with several values, write category in (shoes, hats)"


class _Value(NamedTuple):
    """A value as it is written: its text without quotes, whether it had quotes, and where it starts."""

    text: str
    quoted: bool
    start: int


def parse_where(text: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Parse a filter.

    - `text`: the filter in words.
    - `kinds`: the kind of each column by name; it decides whether a value is a number, true or false, or a string.
      A column that is not there has strings.

    Returns the filter as a dict. Raises InputError, with the position, for text that is no filter.
    """
    return _Parser(text, kinds).filter()


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self._text = text
        self._kinds = kinds
        self._tokens = iter(tokenise(text))
        self._token = next(self._tokens)
        self._depth = 0
        self._follows_keyword = False  # whether the condition that is read follows `and` or `or`

    def filter(self) -> dict[str, Any]:
        """The whole text."""
        if self._is_at_end():
            raise InputError("where: expected a condition, found a blank string")
        where = self._any()
        if not self._is_at_end():
            self._fail_behind_a_condition()
        return where

    def _any(self) -> dict[str, Any]:
        return self._joined("or", self._all)

    def _all(self) -> dict[str, Any]:
        return self._joined("and", self._condition)

    def _joined(self, keyword: str, parse: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """One or more parts with `keyword` between them."""
        parts = [parse()]
        while self._token.keyword == keyword:
            self._advance()
            self._follows_keyword = True
            parts.append(parse())
        return parts[0] if len(parts) == 1 else {keyword: parts}

    def _condition(self) -> dict[str, Any]:
        if self._token.keyword != "not" and not self._token.is_sign("("):
            return self._test(self._column())
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"conditions nested less deeply, at most {MAX_DEPTH} levels")
        if self._advance().keyword == "not":
            where = {"not": self._condition()}
        else:
            where = self._any()
            if not self._token.is_sign(")"):
                self._fail_behind_a_condition("a closing )")
            self._advance()
        self._depth -= 1
        return where

    def _column(self) -> str:
        token = self._token
        if token.kind not in ("word", "quoted") or token.keyword:
            hint = f"a column named {token.text} stands in quotes" if token.keyword else ""
            self._fail("a condition, such as price<100", hint)
        if token.text in ("and", "or", "not"):
            self._fail("a column", f"no filter takes a column named {token.text}, which joins conditions")
        self._advance()
        if (token.kind, self._token.kind) == ("word", "word") and not self._token.keyword:
            self._fail_at_a_foreign_operator(token)
        return token.text

    def _test(self, column: str) -> dict[str, Any]:
        token = self._token
        if token.kind == "sign" and token.text in _SIGNS:
            return self._comparison(column)
        if token.keyword == "is":
            return self._missing(column)
        negated = token.keyword == "not"
        if negated:
            self._advance()
        operator = self._token.keyword
        if operator not in ("in", "contains"):
            alone = self._follows_keyword and (self._token.kind == "end" or self._token.keyword in ("and", "or"))
            self._fail("in or contains" if negated else _OPERATORS, _SEVERAL_VALUES if alone else "")
        self._advance()
        value = self._list(column) if operator == "in" else self._typed(column, self._value())
        where = {column: {operator: value}}
        return {"not": where} if negated else where

    def _comparison(self, column: str) -> dict[str, Any]:
        sign = self._advance().text
        value = self._value()
        if sign in ORDER_SIGNS:
            self._refuse_a_number_among_texts(column, value)
        return {column: {"==" if sign == "=" else sign: self._typed(column, value)}}

    def _missing(self, column: str) -> dict[str, Any]:
        self._advance()
        operator = "=="
        if self._token.keyword == "not":
            self._advance()
            operator = "!="
        if self._token.keyword != "missing":
            self._fail("missing", "write is missing or is not missing; equal is =")
        self._advance()
        return {column: {operator: None}}

    def _list(self, column: str) -> list[Any]:
        closing = _CLOSING.get(self._token.text) if self._token.kind == "sign" else None
        if closing:
            self._advance()
        single = closing is not None  # with brackets around the list, a blank is more likely a forgotten comma
        values = [self._typed(column, self._value(single))]
        while self._token.is_sign(","):
            self._advance()
            if closing and self._token.is_sign(closing):
                break
            values.append(self._typed(column, self._value(single)))
        if closing:
            if not self._token.is_sign(closing):
                self._fail(f"a comma or a closing {closing}", "a value with blanks or other signs stands in quotes")
            self._advance()
        return values

    def _value(self, single: bool = False) -> _Value:
        """A string in quotes, or words up to the end of the condition; one word only if `single`."""
        first = self._token
        if first.kind == "quoted":
            self._advance()
            return _Value(first.text, True, first.start)
        stop = first.start
        while self._token.kind == "word" and self._token.keyword not in ("and", "or"):
            self._refuse_in_a_value(self._token)
            stop = self._advance().stop
            if single:
                break
        if stop == first.start:
            hint = "a list follows in, such as category in (shoes, hats)" if first.is_sign("(", "[") else ""
            self._fail("a value", f"the value {first.text} stands in quotes" if first.keyword else hint)
        text = self._text[first.start : stop]
        if text.lower() in NOTHING:
            hint = f'write is missing, or "{text}" in quotes for this very word'
            raise syntax_error(self._text, first.start, "a value", hint)
        return _Value(text, False, first.start)

    def _refuse_in_a_value(self, token: Token) -> None:
        """Raise an error for a word that is more likely a part of the language than of a value without quotes."""
        if token.keyword:
            self._fail("a plain value", f"a value with the word {token.text} stands in quotes")
        if token.text in CONNECTIVES:
            self._fail("a plain value", f"write {CONNECTIVES[token.text]}, or quotes around a value with {token.text}")
        if set(token.text) & set("{}"):
            self._fail("a plain value", "a list stands in parentheses, a value with { or } in quotes")

    def _typed(self, column: str, value: _Value) -> Any:
        """A value in the type of its column."""
        if not value.quoted and (reference := _REFERENCE.fullmatch(value.text)):
            return {"it": reference[1]}
        kind = self._kinds.get(column, "text").removesuffix("s")
        if kind == "number":
            return self._number(column, value)
        if kind == "bool" and not value.quoted:
            return _BOOLS.get(value.text.lower(), value.text)
        return value.text

    def _number(self, column: str, value: _Value) -> float:
        try:
            if value.quoted or len(value.text) > _MAX_DIGITS:
                raise ValueError
            return int(value.text) if re.fullmatch(r"[+-]?\d+", value.text) else float(value.text)
        except ValueError:
            hint = f"{column} is a column of numbers, which stand without quotes, units and thousands separators"
            raise syntax_error(self._text, value.start, "a number, such as 9.99", hint) from None

    def _fail_behind_a_condition(self, end: str = "the end of the filter") -> NoReturn:
        """Raise the error of a condition that is followed by neither `and` nor `or`."""
        token, hint = self._token, ""
        if token.is_sign(","):
            hint = _SEVERAL_VALUES
        elif token.is_sign(")", "]"):
            hint = f"no opening one stands before the {token.text}"
        elif token.kind == "sign":
            hint = f"a value with {token.text} stands in quotes, and each condition has one operator"
        elif token.kind != "end":
            hint = "a value of several words stands in quotes as a whole"
        self._fail(f"`and`, `or` or {end}", hint)

    def _fail_at_a_foreign_operator(self, column: Token) -> NoReturn:
        """Raise the error of a word behind a column that is no operator."""
        word = self._token
        hint = OPERATOR_HINTS.get(word.text.lower(), "")
        if not hint:
            hint = f'a column of several words stands in quotes, such as "{column.text} {word.text}"'
        self._fail(f"{_OPERATORS}, behind the column {column.text}", hint)

    def _refuse_a_number_among_texts(self, column: str, value: _Value) -> None:
        """Raise an error for a number that a column of texts would be compared with letter by letter."""
        if self._kinds.get(column) == "text" and not value.quoted and looks_numeric(value.text):
            hint = (
                f'declare {column}:number or a date to compare its values so; {column}<"{value.text}", with quotes, '
                "compares letters"
            )
            expected = f"a string, for {column} is a column of texts, where 10 comes before 9"
            raise syntax_error(self._text, value.start, expected, hint)

    def _fail(self, expected: str, hint: str = "") -> NoReturn:
        raise syntax_error(self._text, self._token.start, expected, hint)

    def _is_at_end(self) -> bool:
        return self._token.kind == "end"

    def _advance(self) -> Token:
        """Go to the next token; returns the one that was passed."""
        token, self._token = self._token, next(self._tokens, self._token)
        return token
