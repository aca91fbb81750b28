"""Mutated pictures of every format that is decoded by default: each is read, or refused with an ImageError.

The corpus has small files, which Pillow and its plugins wrote, and every file that once did something else. A longer
search: `CLIPSHELF_FUZZ_EXAMPLES=100000 python -m pytest tests/faults/test_picture_fuzz.py`.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from clipshelf.errors import ImageError
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.image import ImageReader
from clipshelf.model.image_formats import recognise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = sorted((Path(__file__).parents[1] / "support/corpus").iterdir())
EXAMPLES = int(os.environ.get("CLIPSHELF_FUZZ_EXAMPLES", "60"))
SECONDS = 2.0
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
SPEC = ImageSpec(size=8, resize="pad", resize_to=8, resample="bicubic")
READERS = ImageReader(SPEC), ImageReader(SPEC, "exact")


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


def outcome(data: bytes, reader: ImageReader) -> str:
    start = time.thread_time()
    try:
        pixels = reader.read(data)
    except ImageError:
        pixels = None
    assert time.thread_time() - start < SECONDS
    if pixels is None:
        return "refused"
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    return "read"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
@pytest.mark.filterwarnings("error")
def test_a_mutated_picture_is_read_or_refused(path: Path) -> None:
    seed = path.read_bytes()
    assert recognise(seed)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated(seed))
    def check(data: bytes) -> None:
        for reader in READERS:
            outcome(data, reader)

    check()


def test_the_corpus_itself_is_read() -> None:
    outcomes = {path.name: outcome(path.read_bytes(), READERS[0]) for path in CORPUS}
    optional = {path.name for path in CORPUS if path.suffix in (".avif", ".heic", ".jxl")}
    assert {name for name, result in outcomes.items() if result == "refused"} <= optional
