from __future__ import annotations

import math

import numpy as np
import pytest
from clipshelf import Ranker
from clipshelf.rank import ranker as ranker_module
from clipshelf.rank import scan
from clipshelf.rank.bounds import Int8Rows
from clipshelf.rank.stream import stream_part
from clipshelf.runtime.native_scan import StreamPart
from clipshelf.types import DoubleArray, FloatArray
from support.matrices import matrix_of


def test_adding_keeps_the_large_parts(int8_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    class Counted(Int8Rows):
        def __init__(self, matrix: FloatArray, *rest: object) -> None:
            built.append(len(matrix))
            super().__init__(matrix, *rest)  # type: ignore[arg-type]

    def counted_part(matrix: FloatArray, norms: DoubleArray) -> StreamPart:
        built.append(len(matrix))
        return stream_part(matrix, norms)

    monkeypatch.setattr(scan, "Int8Rows", Counted)
    monkeypatch.setattr(ranker_module, "stream_part", counted_part)
    rng = np.random.default_rng(1)
    ranker = Ranker(matrix_of("normal", 4000, 8, rng), "int8", threads=1)
    for _ in range(64):
        ranker.add(matrix_of("normal", 10, 8, rng))
    ranker.remove([5])
    assert built[0] == 4000
    assert max(built[1:]) <= 640
    assert sum(built[1:]) <= 640 * (1 + math.log2(64))
