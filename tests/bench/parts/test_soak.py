from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf_bench.parts import soak
from support import fake_contenders as fakes


def test_a_soak_measures_memory_after_warming_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = fakes.FakeProcess()
    monkeypatch.setattr(soak, "ContenderProcess", lambda *_: process)
    monkeypatch.setattr(soak, "prepare_contender", lambda *_: None)
    monkeypatch.setattr(soak, "embedding_dim", lambda _: 4)
    rows, skipped = soak._rows(fakes.make_bench(tmp_path), fakes.make_subject(tmp_path), tmp_path)
    assert (rows[0]["calls"], rows[-1]["calls"], process.calls) == (20, 40, 40)
    assert rows[0]["growth_percent"] == 0
    assert rows[-1]["growth_percent"] == pytest.approx(len(rows) - 1)
    assert not skipped
