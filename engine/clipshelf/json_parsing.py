"""Parses JSON that comes from outside, with a limit on how deep it is nested."""

from __future__ import annotations

import json
import re
from typing import Any

from clipshelf.errors import InputError

# Levels of objects and arrays. A deeper text could need more stack than a thread of a host has, and writing it again
# more frames than Python allows.
MAX_DEPTH = 100
# The end of a string is optional, so that one without an end is read once, and not from each of its letters.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def parse_json(content: str | bytes) -> Any:
    """Parse a JSON text of at most 100 levels.

    - `content`: the text, or its bytes in UTF-8, UTF-16 or UTF-32.

    Raises InputError for a deeper one, and ValueError for what is no JSON, also for an integer of thousands of digits.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content), "surrogatepass")
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    return json.loads(text)


def _check_depth(text: str) -> None:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        bracket = match[0]
        depth += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise InputError(f"expected JSON of at most {MAX_DEPTH} levels, found {deepest}")
