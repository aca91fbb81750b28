from __future__ import annotations

from typing import Any

from clipshelf_bench.compare import compare


def _report(**ratios: tuple[float, float, float]) -> dict[str, Any]:
    rows = [
        {"case": "image", "contender": name, "ratio": value, "low": low, "high": high}
        for name, (value, low, high) in ratios.items()
    ]
    return {
        "tables": [
            {"part": "latency", "title": "Latency", "rows": [*rows, {"case": "image", "contender": "clipshelf"}]}
        ]
    }


def test_only_what_left_its_interval_moved() -> None:
    old = _report(a=(0.5, 0.4, 0.6), b=(0.5, 0.4, 0.6), c=(0.5, 0.4, 0.6), d=(1, 1, 1))
    new = _report(a=(0.58, 0.55, 0.7), b=(0.7, 0.65, 0.8), c=(0.3, 0.2, 0.39), e=(1, 1, 1))
    verdicts = {move.contender: move.verdict for move in compare(old, new)}
    assert verdicts == {"a": "same", "b": "slower", "c": "faster", "d": "gone", "e": "new"}


def test_what_moved_comes_first_and_reads_well() -> None:
    moves = compare(_report(a=(1, 1, 1), z=(0.5, 0.4, 0.6)), _report(a=(1, 1, 1), z=(0.9, 0.8, 1.0)))
    assert str(moves[0]) == "slower  Latency: image: against z: 0.500 [0.400, 0.600] -> 0.900 [0.800, 1.000]"


def test_parts_that_only_one_report_ran_say_nothing() -> None:
    both, other = _report(a=(1, 1, 1)), _report(b=(1, 1, 1))["tables"]
    other[0] |= {"part": "rank", "title": "Ranking"}
    assert [move.contender for move in compare({"tables": both["tables"] + other}, both)] == ["a"]
