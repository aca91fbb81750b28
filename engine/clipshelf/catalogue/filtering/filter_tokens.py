"""The tokens of a filter in words: words, strings in quotes, and signs. One pass, linear in the length of the text."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from clipshelf.catalogue.typed_columns.cells import is_iso_date, read_number
from clipshelf.display import describe
from clipshelf.errors import InputError

# Limits, checked before any work.
MAX_CHARACTERS = 100_000

# Words of the language, in any case; a value or a column of this name stands in quotes.
KEYWORDS = frozenset(("and", "or", "not", "in", "is", "contains", "missing"))

ORDER_SIGNS = ("<", "<=", ">", ">=")

# Words that stand for no value in other languages.
NOTHING = frozenset(("null", "none", "nil", "nan"))
# Words that join conditions in other languages, and what joins them here.
CONNECTIVES = {"&&": "and", "&": "and", "||": "or", "|": "or"}
_RESERVED = KEYWORDS | NOTHING | CONNECTIVES.keys()

_SPACE = re.compile(r"\s+")
_SIGN = re.compile(r"==|!=|<=|>=|[=<>()\[\],]")
_TYPOGRAPHIC_QUOTES = "\u2018-\u201f\u00ab\u00bb\u2039\u203a"
# An apostrophe between two letters, as in levi's, belongs to the word.
_WORD = re.compile(
    rf"""(?:[^\s=<>!≠≤≥"'()\[\],{_TYPOGRAPHIC_QUOTES}]|(?<=\w)['\u2019](?=\w)|!(?!=))+""",
)
_PLAIN_WORD = re.compile(r"[\w.+-][\w.+:/%-]*")  # means the same beside any sign
_TYPOGRAPHIC_QUOTE = re.compile(f"[{_TYPOGRAPHIC_QUOTES}]")
# Signs of other languages, and what to write here.
_FOREIGN_SIGN = re.compile(r"===|!==|<>|=<|=>|=~|≠|≤|≥")
_SIGN_HINTS = {
    "===": "equal is =",
    "!==": "not equal is !=",
    "<>": "not equal is !=",
    "≠": "not equal is !=",
    "=<": "at most is <=",
    "≤": "at most is <=",
    "=>": "at least is >=",
    "≥": "at least is >=",
    "=~": "a string within a string is found by contains",
}
# Operators of other languages, and what to write here.
OPERATOR_HINTS = {
    "like": "a string within a string is found by contains",
    "ilike": "a string within a string is found by contains",
    "includes": "write contains",
    "has": "write contains",
    "between": "write two conditions, such as price>=10 and price<=20",
    "equals": "equal is =",
    "eq": "equal is =",
    "ne": "not equal is !=",
    "lt": "less than is <",
    "gt": "greater than is >",
    "le": "at most is <=",
    "lte": "at most is <=",
    "ge": "at least is >=",
    "gte": "at least is >=",
}


class Token(NamedTuple):
    """A token.

    - `kind`: "end" is the end of the filter.
    - `text`: the word, the sign, or the string without its quotes.
    - `start`, `stop`: its range in the filter.
    """

    kind: Literal["word", "quoted", "sign", "end"]
    text: str
    start: int
    stop: int

    @property
    def keyword(self) -> str:
        """The keyword in lower case; "" for a token that is none."""
        lower = self.text.lower() if self.kind == "word" else ""
        return lower if lower in KEYWORDS else ""

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.kind == "sign" and self.text in signs


def tokenise(text: str) -> list[Token]:
    """Split a filter into tokens; the last one is the end. Raises InputError for one that is too long or unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"where: expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}")
    tokens: list[Token] = []
    position = 0
    while True:
        if space := _SPACE.match(text, position):
            position = space.end()
        if position == len(text):
            tokens.append(Token("end", "", position, position))
            return tokens
        tokens.append(_token(text, position))
        position = tokens[-1].stop


def syntax_error(text: str, position: int, expected: str, hint: str = "") -> InputError:
    """The error of a filter that cannot be read at `position`, an index of `text`."""
    found = describe(text[position : position + 60], 30) if position < len(text) else "the end of the filter"
    return InputError(
        f"where: character {position + 1}: expected {expected}, found {found}{f'; {hint}' if hint else ''}"
    )


def quote(text: str) -> str:
    """`text` as a filter says it: bare where it is one plain word, else in quotes."""
    return (
        text
        if _PLAIN_WORD.fullmatch(text) and text.lower() not in _RESERVED and not text.startswith("it.")
        else '"' + text.replace('"', '""') + '"'
    )


def looks_numeric(text: str) -> bool:
    """Whether a value is an amount, a measure such as 5mm or a date that begins with the day.

    The letters of such values are in another order than what they say; those of dates in ISO form are in the same.
    """
    begins_with_digit = text.lstrip(" +-.,")[:1].isdecimal()
    return (begins_with_digit and not is_iso_date(text)) or read_number(text) is not None


def _token(text: str, start: int) -> Token:
    if text[start] in "\"'":
        return _quoted(text, start)
    if foreign := _FOREIGN_SIGN.match(text, start):
        raise syntax_error(text, start, "an operator among = != < <= > >=", _SIGN_HINTS[foreign[0]])
    if sign := _SIGN.match(text, start):
        return Token("sign", sign[0], start, sign.end())
    if _TYPOGRAPHIC_QUOTE.match(text, start):
        raise syntax_error(text, start, "straight quotes, \" or '", "other quotes stand within straight ones only")
    if text[start] == "!":
        raise syntax_error(text, start, "not or !=", "write not before a condition, such as not price<100")
    word = _WORD.match(text, start)
    if not word:
        raise syntax_error(text, start, "a word, an operator or quotes")
    return Token("word", word[0], start, word.end())


def _quoted(text: str, start: int) -> Token:
    """The string in quotes that begins at `start`; a doubled quote within it stands for one."""
    sign, end = text[start], start
    while True:
        end = text.find(sign, end + 1)
        if end < 0:
            raise syntax_error(
                text, start, f"a closing {sign}", "a quote within a value stands in quotes of the other form"
            )
        if text[end + 1 : end + 2] != sign:
            return Token("quoted", text[start + 1 : end].replace(2 * sign, sign), start, end + 1)
        end += 1
