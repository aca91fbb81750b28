"""Texts to tokens: words without case and accents, codes as a whole and in parts.

- Case, the forms of Unicode (NFKC) and accents do not count. "ä", "ae" and "a" are one, and so are "ö", "oe" and "o",
  "ü", "ue" and "u" except behind a vowel or q, "ß" and "ss" (the rule of Lucene's GermanNormalizationFilter).
- A code such as DM-1942 gives the token of all of it, `dm1942`, and those of its parts, `dm` and `1942`.
- Words are not stemmed, compounds not split and typos not mended: that is what embeddings are for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b

_WORD = re.compile(r"[^\W_]+(?:[-./_+#][^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
_DIGIT = re.compile(r"\d")
_UMLAUT = re.compile(r"ae|oe|(?<![aeiouyq])ue")
_LONGEST_WHOLE = 64  # characters of a value that is a token as a whole
_LONGEST_NEIGHBOURS = 3  # words of a query that may be one token of a product
_WORDS_OF_A_QUERY = 256


def folded(text: str) -> str:
    """A text in lower case, without accents."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _UMLAUT.sub(lambda match: match[0][0], text.casefold())


def tokens(text: str) -> Iterator[str]:
    """The tokens of a text, in order."""
    for word in _WORD.findall(folded(text)):
        parts = _PART.findall(word)
        if len(parts) > 1 and _DIGIT.search(word):
            yield "".join(parts)
        yield from parts


def whole_token(value: str) -> str:
    """The token of a value as a whole, "" for one that is no code or name but a text."""
    whole = "".join(_PART.findall(folded(value)))
    return whole if len(whole) <= _LONGEST_WHOLE else ""


def query_tokens(text: str) -> tuple[list[str], list[str]]:
    """The tokens of a query, each once: its words, and neighbouring words as one, which must be known to count."""
    words = list(tokens(text))[:_WORDS_OF_A_QUERY]
    neighbours = [
        "".join(words[start : start + count])
        for count in range(2, _LONGEST_NEIGHBOURS + 1)
        for start in range(len(words) - count + 1)
    ]
    distinct = dict.fromkeys(words)
    return list(distinct), [token for token in dict.fromkeys(neighbours) if token not in distinct]


def is_code(token: str) -> bool:
    """Whether a token looks like a code: at least three characters, a digit among them."""
    return len(token) > 2 and _DIGIT.search(token) is not None


def token_key(token: str) -> int:
    """The 64-bit key of a token."""
    return int.from_bytes(blake2b(token.encode(), digest_size=8).digest(), "little")
