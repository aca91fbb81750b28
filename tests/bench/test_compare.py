from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from clipshelf_bench.compare import compare_reports


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
    verdicts = {change.contender: change.verdict for change in compare_reports(old, new)}
    assert verdicts == {"a": "same", "b": "slower", "c": "faster", "d": "gone", "e": "new"}


def test_what_moved_comes_first_and_reads_well() -> None:
    changes = compare_reports(_report(a=(1, 1, 1), z=(0.5, 0.4, 0.6)), _report(a=(1, 1, 1), z=(0.9, 0.8, 1.0)))
    assert str(changes[0]) == "slower  Latency: image: against z: 0.500 [0.400, 0.600] -> 0.900 [0.800, 1.000]"


def test_parts_that_only_one_report_ran_say_nothing() -> None:
    both, other = _report(a=(1, 1, 1)), _report(b=(1, 1, 1))["tables"]
    other[0] |= {"part": "rank", "title": "Ranking"}
    assert [change.contender for change in compare_reports({"tables": both["tables"] + other}, both)] == ["a"]


def test_committed_results_can_be_compared() -> None:
    report = json.loads((Path(__file__).parents[2] / "bench" / "results.json").read_text())
    slower = copy.deepcopy(report)
    for table in slower["tables"]:
        for row in table["rows"]:
            row |= {name: 10 * row[name] for name in ("ratio", "low", "high") if name in row}
    assert {change.verdict for change in compare_reports(report, report)} == {"same"}
    assert {change.verdict for change in compare_reports(report, slower)} == {"slower"}
    assert {change.verdict for change in compare_reports(slower, report)} == {"faster"}
