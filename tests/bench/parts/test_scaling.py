from __future__ import annotations

import pytest
from clipshelf_bench.parts import scaling


def test_a_curve_has_its_exponent_once_and_leaves_small_points_out() -> None:
    times = {100: 5.0, 1000: 1.0, 10_000: 10.0, 100_000: 100.0}
    rows = [{"contender": "a", "x": x, "p50_ms": ms} for x, ms in reversed(times.items())]
    table = scaling._curve_table("Curve", "products", [*rows, {"contender": "b", "x": 1, "p50_ms": 2.0}], fit_from=1000)
    assert [row["x"] for row in table.rows] == [100, 1000, 10_000, 100_000, 1]
    assert [row.get("exponent") for row in table.rows] == [None, None, None, pytest.approx(1.0), None]
