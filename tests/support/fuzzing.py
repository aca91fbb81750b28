"""Mutations of files, texts and JSON values, and how long they are tried.

By default a target runs EXAMPLES times. With CLIPSHELF_FUZZ_SECONDS it runs for that long, with other random numbers in
each round: `make fuzz`.
"""

from __future__ import annotations

import copy
import os
import struct
import time
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Example = TypeVar("Example")

EXAMPLES = 60
SECONDS = float(os.environ.get("CLIPSHELF_FUZZ_SECONDS", "0"))
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
# What numbers, names and paths in JSON are replaced by.
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e-320, 1e308, 1e309, float("nan"), 2**63, 2**80, -(2**80)),
    *("", "\0", "\ud800", "/etc/passwd", "..", "a" * 5000, "\x1b[31m"),
    *([], [[]], {}, {"": None}, [None] * 50),
)
TOKENS = (
    *(
        "(",
        ")",
        "((((",
        " ",
        " " * 500,
        "not ",
        "and",
        "or",
        "in",
        "is missing",
        "<",
        "<=",
        "=",
        "!=",
        ",",
        "'",
        '"',
        "\\",
    ),
    *("price", "brand", "id", "text", "size.eu", "1e999", "-", "nan", "contains", "#"),
    *("\ud800", "\0", "\n", "\u00e9", "\u0663", "\x1b[1m"),
)


def fuzz(examples: st.SearchStrategy[Example], check: Callable[[Example], object]) -> None:
    """Call `check` with examples; what it raises is the failure, with the smallest example that raises it."""
    end = time.monotonic() + SECONDS

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(examples)
    def run(example: Example) -> None:
        check(example)

    run()
    while time.monotonic() < end:
        run()


@st.composite
def mutated(draw: st.DrawFn, seed: bytes) -> bytes:
    """A file with bytes overwritten, removed or repeated, mostly in its first part, and with extreme sizes."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(0, 6))):
        reach = len(data) if draw(st.booleans()) else min(len(data), 400)
        if not reach:
            break
        position, kind = draw(st.integers(0, reach - 1)), draw(st.integers(0, 5))
        length = draw(st.integers(1, 40))
        if kind == 0:
            data[position] = draw(st.integers(0, 255))
        elif kind == 1:
            layout = draw(st.sampled_from([">I", "<I", ">H", "<H"]))
            value = draw(st.sampled_from(EXTREMES)) & (0xFFFFFFFF if layout[1] == "I" else 0xFFFF)
            data[position : position + struct.calcsize(layout)] = struct.pack(layout, value)
        elif kind == 2:
            del data[position : position + length]
        elif kind == 3:
            data[position:position] = data[position : position + length] * draw(st.integers(1, 30))
        elif kind == 4:
            data[position:position] = draw(st.binary(max_size=40))
        else:
            del data[position:]
    return bytes(data)


@st.composite
def mutated_text(draw: st.DrawFn, seeds: list[str]) -> str:
    """A text with words put in, pieces of other seeds, and parts removed or repeated up to a thousand times."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 6))):
        position, kind = draw(st.integers(0, len(text))), draw(st.integers(0, 4))
        length = draw(st.integers(1, 30))
        if kind == 0:
            put = draw(st.sampled_from(TOKENS))
        elif kind == 1:
            put = draw(st.sampled_from(seeds))[:length]
        elif kind == 2:
            put = text[position : position + length] * draw(st.sampled_from([1, 2, 30, 1000]))
        elif kind == 3:
            put = draw(st.text(max_size=5))
        else:
            text, put = text[:position] + text[position + length :], ""
        text = text[:position] + put + text[position:]
    return text


@st.composite
def mutated_json(draw: st.DrawFn, seed: Any) -> Any:
    """A JSON value with other values at some of its places, with fields removed, renamed or nested."""
    root = {"": copy.deepcopy(seed)}
    for _ in range(draw(st.integers(1, 4))):
        places = [*_places(root)]
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(st.integers(0, 4))
        if kind == 0 and parent is not root:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict) and parent is not root:
            parent[draw(st.sampled_from(["", "x", "\ud800", "id", "files"]))] = parent.pop(key)
        elif kind == 2:
            parent[key] = [parent[key]] * draw(st.sampled_from([1, 2, 100]))
        elif kind == 3:
            parent[key] = draw(st.integers() | st.floats() | st.text(max_size=8))
        else:
            parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    return root[""]


def _places(value: Any) -> Any:
    """Each container below `value` with each of its keys or positions."""
    if isinstance(value, dict):
        keys: list[Any] = [*value]
    elif isinstance(value, list):
        keys = [*range(min(len(value), 20))]
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])
