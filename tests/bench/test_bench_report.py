from __future__ import annotations

import json
from pathlib import Path

import pytest
from clipshelf_bench.report import cell, markdown, markdown_table, text_table, write
from clipshelf_bench.result import Plot, Row, Table

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
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_cells_near_one_where_that_matters() -> None:
    assert cell(0.99871, exact=True) == "0.99871"
    assert cell(1.0, exact=True) == "1"


def test_a_ratio_stands_with_its_interval_and_empty_columns_go() -> None:
    rows: list[Row] = [{"contender": "ours"}, {"contender": "other", "ratio": 0.5, "low": 0.25, "high": 0.99444}]
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


def test_text_names_who_was_skipped() -> None:
    assert "skipped absent: not installed: absent" in text_table(TABLE)


def test_report_says_what_every_contender_is_and_who_was_left_out_of_what() -> None:
    skipped = {"absent": "not installed: absent", "missing": "not installed: absent", "hnswlib": "too slow"}
    rank = Table("rank", "Ranking", ("contender",), [{"contender": "numpy"}], skipped=skipped)
    text = markdown({}, [TABLE, rank], (), set())
    for line in (
        "| clipshelf | clipshelf, int8 artifact |",
        "| numpy | NumPy matmul + argpartition, fp32 |",
        "| other |  |",
        "- absent, missing: not installed: absent (latency, rank)",
        "- hnswlib: too slow (rank)",
    ):
        assert text.splitlines().count(line) == 1
    assert "## Contenders" not in markdown({}, [Table("quality", "Quality", (), [])], (), set())


def test_report_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    machine = {"cpu": "A CPU", "packages": {"numpy": "2.0"}, "instruction_sets": ["avx2"]}
    write(tmp_path, machine, [TABLE], ("SOME_VARIABLE",))
    text = (tmp_path / "RESULTS.md").read_text()
    assert "A CPU" in text
    assert "SOME_VARIABLE" in text
    assert "![Latency](plots/latency.svg)" in text
    assert "<svg" in (tmp_path / "plots" / "latency.svg").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["tables"][0]["rows"][0]["p50_ms"] == 9.7654
