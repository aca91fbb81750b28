"""Mutated pictures of every format that is decoded by default: each is read, or refused with an ImageError.

The corpus has small files, which Pillow and its plugins wrote, and every file that once did something else.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from clipshelf.errors import ImageError
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.image import ImageReader
from clipshelf.model.image_formats import recognise
from support.fuzzing import fuzz, mutated

CORPUS = sorted((Path(__file__).parents[1] / "support/corpus").iterdir())
SECONDS = 2.0
SPEC = ImageSpec(size=8, resize="pad", resize_to=8, resample="bicubic")
READERS = ImageReader(SPEC), ImageReader(SPEC, "exact")


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

    def check(data: bytes) -> None:
        for reader in READERS:
            outcome(data, reader)

    fuzz(mutated(seed), check)


def test_the_corpus_itself_is_read() -> None:
    outcomes = {path.name: outcome(path.read_bytes(), READERS[0]) for path in CORPUS}
    optional = {path.name for path in CORPUS if path.suffix in (".avif", ".heic", ".jxl")}
    assert {name for name, result in outcomes.items() if result == "refused"} <= optional
