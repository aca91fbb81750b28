from __future__ import annotations

import pytest
from clipshelf_bench.parts import limit

PEAKS = {"int8_gmacs": 100.0, "fp32_gmacs": 50.0, "read_gbs": 20.0}


def test_a_ranking_is_bound_by_reading_its_rows_in_one_byte_or_four() -> None:
    products = [
        {"contender": name, "x": x, "p50_ms": ms}
        for name, ms in (("clipshelf-rank", 51.2), ("clipshelf-rank-fp32", 204.8), ("numpy", 1.0))
        for x in (1_000_000, 1000)
    ]
    int8, fp32 = limit._rank_rows(products, PEAKS)
    assert "1000000" in int8["case"]
    assert int8["memory_ms"] == pytest.approx(512e6 / 20e9 * 1e3)
    assert fp32["memory_ms"] == pytest.approx(4 * int8["memory_ms"])
    assert int8["share"] == fp32["share"] == pytest.approx(0.5)
