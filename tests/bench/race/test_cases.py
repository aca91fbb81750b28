from __future__ import annotations

import pytest
from clipshelf_bench.race.cases import unavailable_reason
from support import fake_contenders as fakes


def test_a_missing_package_is_the_reason() -> None:
    assert unavailable_reason(fakes.Absent) == "not installed: a_package_that_nobody_has"
    assert unavailable_reason(fakes.Fast) is None


def test_a_missing_parent_package_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.Absent, "requires", ("a_package_that_nobody_has.part",))
    assert unavailable_reason(fakes.Absent) == "not installed: a_package_that_nobody_has.part"
