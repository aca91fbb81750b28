from __future__ import annotations

import pytest
from clipshelf_bench import cli


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
