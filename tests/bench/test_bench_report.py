from __future__ import annotations

import json
from pathlib import Path

import pytest
from clipshelf_bench.report import markdown_table, text_table, to_markdown, write_report
from clipshelf_bench.tables import Plot, Table, TableRow, format_value

TABLE = Table(
    part="latency",
    title="Latency",
    columns=("contender", "p50_ms", "centred"),
    rows=[
        {"contender": "clipshelf", "p50_ms": 9.7654, "rounds": [9.7]},
        {"contender": "other", "p50_ms": 12.34, "centred": 0.99871},
    ],
    notes=["A note."],
    skipped={"absent": "not installed: absent"},
    plots=[Plot("latency", "Latency", "bar", "contender", "p50_ms", "part")],
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ("x", "x"),
        (3, "3"),
        (0.12345, "0.123"),
        (9.7654, "9.77"),
        (12.34, "12.3"),
        (1234.5, "1234"),
        (0.99871, "0.999"),
    ],
)
def test_values(value: object, shown: str) -> None:
    assert format_value(value) == shown


def test_values_near_one() -> None:
    assert format_value(0.99871, near_one=True) == "0.99871"
    assert format_value(1.0, near_one=True) == "1"


def test_a_ratio_stands_with_its_interval_and_empty_columns_go() -> None:
    rows: list[TableRow] = [{"contender": "ours"}, {"contender": "other", "ratio": 0.5, "low": 0.25, "high": 0.99444}]
    table = Table("latency", "Latency", ("contender", "ratio", "centred"), rows)
    assert markdown_table(table).splitlines() == [
        "| contender | ratio |",
        "|---|---:|",
        "| ours |  |",
        "| other | 0.5 [0.25, 0.994] |",
    ]


def test_markdown_has_empty_cells_for_missing_values() -> None:
    assert markdown_table(TABLE).splitlines() == [
        "| contender | p50 ms | centred |",
        "|---|---:|---:|",
        "| clipshelf | 9.77 |  |",
        "| other | 12.3 | 0.99871 |",
    ]


def test_text_names_the_skipped_contenders() -> None:
    assert "skipped absent: not installed: absent" in text_table(TABLE)


def test_report_describes_contenders_and_says_which_were_skipped_where() -> None:
    skipped = {"absent": "not installed: absent", "missing": "not installed: absent", "hnswlib": "too slow"}
    rank = Table("rank", "Ranking", ("contender",), [{"contender": "numpy"}], skipped=skipped)
    text = to_markdown({}, [TABLE, rank], (), set())
    for line in (
        "| clipshelf | clipshelf, int8 artifact |",
        "| numpy | NumPy matmul + argpartition, fp32 |",
        "| other |  |",
        "- absent, missing: not installed: absent (latency, rank)",
        "- hnswlib: too slow (rank)",
    ):
        assert text.splitlines().count(line) == 1
    assert "## Contenders" not in to_markdown({}, [Table("quality", "Quality", (), [])], (), set())


def test_report_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    machine = {"cpu": "A CPU", "packages": {"numpy": "2.0"}, "instruction_sets": ["avx2"]}
    write_report(tmp_path, machine, [TABLE], ("SOME_VARIABLE",))
    text = (tmp_path / "RESULTS.md").read_text()
    assert "A CPU" in text
    assert "SOME_VARIABLE" in text
    assert "![Latency](plots/latency.svg)" in text
    assert "<svg" in (tmp_path / "plots" / "latency.svg").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["tables"][0]["rows"][0]["p50_ms"] == 9.7654
