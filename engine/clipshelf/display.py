"""Values as error messages, terminals and JSON show them: bounded, on one line, without control characters.

Texts, ids and paths come from strangers. Printed as they are, they could move the cursor, turn the direction of writing
or fill the screen, and a value that is nested deeply has no `repr` at all.
"""

from __future__ import annotations

import json
import re
from reprlib import Repr
from typing import Any

# C1 and other control characters, line and paragraph separators, changes of direction, halves of surrogate pairs. The
# joiners that emoji and Indic scripts need are not among them.
_CONTROLS = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNPRINTABLE = re.compile(f"[\x00-\x1f{_CONTROLS}]")
# json.dumps escapes what is below a space.
_UNPRINTABLE_IN_JSON = re.compile(f"[{_CONTROLS}]")

_WIDTH = 80
_ITEMS = 8
_LEVELS = 4


def describe(value: object, width: int = _WIDTH) -> str:
    """Show any value in an error message.

    - `value`: anything; a value without a usable `repr` is shown by its type.
    - `width`: characters of a string or number from which on its middle is left out.

    Returns one line, like `repr`. Never raises.
    """
    short = Repr()
    short.maxstring = short.maxlong = short.maxother = width
    short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdict = short.maxarray = _ITEMS
    short.maxlevel = _LEVELS
    try:
        return one_line(short.repr(value))
    except Exception:  # such as an int of 5,000 digits
        return f"a value of type {type(value).__name__}"


def printable(text: str) -> str:
    """`text` with its control characters as escapes, such as `\\x1b`, so that a terminal shows them all."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """`text` on one line, without control characters."""
    return printable(" ".join(text.split()))


def json_text(value: Any, *, encoding: str = "utf-8", indent: int | None = None) -> str:
    """Write a value as JSON that `encoding` can hold and a terminal can show.

    - `value`: plain values, without NaN and infinity.
    - `encoding`: the encoding of the output; with one that lacks a character of the value, all but ASCII is escaped.
    - `indent`: as of `json.dumps`.

    Returns JSON. Raises ValueError for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    text = _UNPRINTABLE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, indent=indent)
    return text
