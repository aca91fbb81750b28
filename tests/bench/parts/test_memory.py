from __future__ import annotations

from pathlib import Path

from clipshelf_bench.parts import memory
from support import fake_contenders as fakes


def test_size_of_what_a_deployment_ships(tmp_path: Path) -> None:
    subject = fakes.make_subject(tmp_path)
    assert memory._disk_columns(subject, fakes.Fast, 100) == {}
    (subject.prepared_folder("fast")).mkdir()
    (subject.prepared_folder("fast") / "graph").write_bytes(bytes(50))
    assert memory._disk_columns(subject, fakes.Fast, 100) == {"disk_mb": 50e-6, "disk_share": 0.5}
    assert memory._disk_columns(subject, fakes.Fast, None) == {"disk_mb": 50e-6}
