from __future__ import annotations

import json
from pathlib import Path

import pytest
from clipshelf_bench import cli
from clipshelf_bench.bench import Bench
from clipshelf_bench.tables import Table


@pytest.mark.parametrize(
    ("class_name", "reason"),
    [
        ("a_module_that_nobody_has:Mine", "No module named"),
        ("json:Mine", "has no attribute 'Mine'"),
        ("json:JSONDecoder", "expected a subclass of Contender"),
        ("json", "expected MODULE:CLASS"),
    ],
)
def test_a_class_that_is_no_contender_is_an_error_of_one_line(
    class_name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["rank", "--contender", class_name]) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_contender_is_imported_from_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    # The import succeeds, and the next option is the error.
    assert cli.main(["rank", "--contender", "support.fake_contenders:Fast", "--only", "fast,nobody"]) == 1
    assert "found nobody" in capsys.readouterr().err


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: Bench) -> list[Table]:
        raise RuntimeError(f"no {bench.options.rounds} rounds today")

    def sound(bench: Bench) -> list[Table]:
        return [Table("rank", "It ran", ("rounds",), [{"rounds": bench.options.rounds}], [])]

    monkeypatch.setattr(cli, "PARTS", {"people": broken, "rank": sound})
    assert cli.main(["all", "--out", str(tmp_path), "--rounds", "3"]) == 1
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["machine"]["failed"] == {"people": "RuntimeError: no 3 rounds today"}
    assert [table["title"] for table in results["tables"]] == ["It ran"]
    assert "no 3 rounds today" in (tmp_path / "RESULTS.md").read_text()
