from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf_bench.parts import photo_pipeline
from clipshelf_bench.race.cases import Case
from support import fake_contenders as fakes


def test_photos_are_compared_with_pictures_of_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_pipeline, "ContenderProcess", fakes.FakeProcess)
    cases = [Case("1000x1000", "photos", Path(), 24)]
    rows = photo_pipeline._rows(fakes.make_bench(tmp_path), fakes.make_subject(tmp_path), cases, 2)
    assert [(row["graph_ms"], row["p50_ms"], row["share"]) for row in rows] == [(2.0, 2.0, 1.0)]
