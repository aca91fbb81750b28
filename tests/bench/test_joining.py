from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clipshelf_bench.cli import main
from clipshelf_bench.joining import join_reports
from clipshelf_bench.report import to_json
from clipshelf_bench.tables import Plot, Table

PARTS = ("latency", "rank")


def report(part: str, title: str, *, seconds: int = 1, commit: str = "a", **machine: Any) -> dict[str, Any]:
    plot = Plot(title, title, "bar", "contender", "p50_ms", "part")
    rows = [{"contender": name, "p50_ms": 1.5} for name in ("clipshelf", "numpy")]
    table = Table(part, title, ("contender", "p50_ms"), rows, plots=[plot])
    of_run = {"cpu": "x", "threads": 2, "date": "today", "commit": commit, "seconds": {part: seconds}}
    parsed: dict[str, Any] = json.loads(to_json(of_run | machine, [table]))
    return parsed


def test_parts_that_were_measured_one_by_one_become_one_report(tmp_path: Path) -> None:
    reports = [report("rank", "Ranking", commit="b"), report("latency", "One"), report("latency", "Two", seconds=4)]
    files = [tmp_path / f"{index}.json" for index in range(3)]
    for path, each in zip(files, reports, strict=True):
        path.write_text(json.dumps(each))
    assert main(["join", *map(str, files), "--out", str(tmp_path / "out")]) == 0
    joined = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [table["title"] for table in joined["tables"]] == ["One", "Two", "Ranking"]
    assert joined["tables"][2] == reports[0]["tables"][0]
    assert joined["machine"] == {
        "cpu": "x",
        "threads": 2,
        "date": ["today"],
        "commit": ["a", "b"],
        "seconds": {"rank": 1, "latency": 5},
    }
    assert "| commit | a, b |" in (tmp_path / "out" / "RESULTS.md").read_text()
    assert {path.name for path in (tmp_path / "out" / "plots").iterdir()} == {"One.svg", "Two.svg", "Ranking.svg"}


def test_failures_of_parts_stay_in_the_report() -> None:
    machine, _ = join_reports([report("rank", "Ranking"), report("latency", "One", failed={"latency": "no"})], PARTS)
    assert machine["failed"] == {"latency": "no"}


def test_results_of_two_machines_and_tables_that_come_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="cpu: expected results of one machine, found 'x' and 'y'"):
        join_reports([report("rank", "Ranking"), report("latency", "One", cpu="y")], PARTS)
    with pytest.raises(ValueError, match="cores: expected results of one machine, found None and 2"):
        join_reports([report("rank", "Ranking"), report("latency", "One", cores=2)], PARTS)
    with pytest.raises(ValueError, match="expected each table once, found 'One' in two results"):
        join_reports([report("latency", "One"), report("latency", "One")], PARTS)
