from __future__ import annotations

import json
from pathlib import Path

import pytest
from clipshelf_bench import cli
from clipshelf_bench.result import Table
from clipshelf_bench.setup import Setup


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("a_module_that_nobody_has:Mine", "No module named"),
        ("json:Mine", "has no attribute 'Mine'"),
        ("json:JSONDecoder", "expected a subclass of Contender"),
        ("json", "expected MODULE:CLASS"),
    ],
)
def test_a_contender_that_is_none_is_told_in_one_line(spec: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rank", "--contender", spec]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_contender_is_taken_from_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    # it gets as far as the next mistake
    assert cli.main(["rank", "--contender", "fakes:Fast", "--only", "fast,nobody"]) == 1
    assert "found nobody" in capsys.readouterr().err


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(setup: Setup) -> list[Table]:
        raise RuntimeError(f"no {setup.plan.rounds} rounds today")

    def sound(setup: Setup) -> list[Table]:
        return [Table("rank", "It ran", ("rounds",), [{"rounds": setup.plan.rounds}], [])]

    monkeypatch.setattr(cli, "PARTS", {"people": broken, "rank": sound})
    assert cli.main(["all", "--out", str(tmp_path), "--rounds", "3"]) == 1
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["machine"]["failed"] == {"people": "RuntimeError: no 3 rounds today"}
    assert [table["title"] for table in found["tables"]] == ["It ran"]
    assert "no 3 rounds today" in (tmp_path / "RESULTS.md").read_text()
