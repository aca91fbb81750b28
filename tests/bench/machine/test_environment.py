from __future__ import annotations

import pytest
from clipshelf_bench.machine.environment import UNSET, child_environment


def test_children_share_thread_limits_and_lose_what_slows_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSET[0], "Haswell")
    environment = child_environment(3)
    assert UNSET[0] not in environment
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"
