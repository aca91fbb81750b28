"""Texts in every script of Unicode, for tests of tokenizers."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator


def texts_of_every_block() -> Iterator[str]:
    """Three texts from each 128 code points of which some are assigned, and one for each control and space.

    The third has two marks after each letter, of any script, joiners, bidi marks and tags among them. They were known
    to Unicode 3.2, since the order of newer ones differs between the tables of Python and of `tokenizers`.
    """
    rng = random.Random(0)
    category, old_category = unicodedata.category, unicodedata.ucd_3_2_0.category
    known = [char for char in map(chr, range(0xF0080)) if category(char) not in ("Cn", "Cs")]  # then, private use
    marks = [char for char in known if old_category(char) in ("Mn", "Mc", "Me", "Cf")]
    blocks: dict[int, list[str]] = {}
    for char in known:
        blocks.setdefault(ord(char) // 128, []).append(char)
    for block in blocks.values():
        chars = ["o" + char if unicodedata.combining(char) else char for char in rng.sample(block, min(6, len(block)))]
        yield "".join(chars)
        yield f"A {' '.join(chars)} b"
        yield "".join(f"{char}{rng.choice(marks)}{rng.choice(marks)}" for char in chars if len(char) == 1)
    for char in known:
        if category(char) in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            yield f"{char}It's{char}{char}1 {char} x{char}"
