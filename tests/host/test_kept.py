from __future__ import annotations

from pathlib import Path

import pytest
from kept import kept


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    source, made = tmp_path / "source", list[Path]()
    source.mkdir()
    (source / "a.cpp").write_text("int a;")

    def make(folder: Path) -> None:
        (folder / "made").write_text((source / "a.cpp").read_text())
        made.append(folder)

    first = kept("a", [source, "c++ 12"], make, tmp_path / "kept")
    assert kept("a", [source, "c++ 12"], make, tmp_path / "kept") == first
    assert made == [first]
    assert kept("a", [source, "c++ 13"], make, tmp_path / "kept") != first
    (source / "a.cpp").write_text("int b;")
    last = kept("a", [source, "c++ 12"], make, tmp_path / "kept")
    assert len(set(made)) == 3 and (last / "made").read_text() == "int b;"
    assert not first.exists()


def test_what_was_interrupted_is_made_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("a", [], fail, tmp_path)
    folder = kept("a", [], lambda folder: (folder / "whole").touch(), tmp_path)
    assert {path.name for path in folder.iterdir()} == {"whole", ".done"}
