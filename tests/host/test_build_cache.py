from __future__ import annotations

from pathlib import Path

import pytest
from support.build_cache import cached


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    source, made = tmp_path / "source", list[Path]()
    source.mkdir()
    (source / "a.cpp").write_text("int a;")

    def make(folder: Path) -> None:
        (folder / "made").write_text((source / "a.cpp").read_text())
        made.append(folder)

    first = cached("a", [source, "c++ 12"], make, tmp_path / "cache")
    assert cached("a", [source, "c++ 12"], make, tmp_path / "cache") == first
    assert made == [first]
    assert cached("a", [source, "c++ 13"], make, tmp_path / "cache") != first
    (source / "a.cpp").write_text("int b;")
    last = cached("a", [source, "c++ 12"], make, tmp_path / "cache")
    assert len(set(made)) == 3 and (last / "made").read_text() == "int b;"
    assert not first.exists()
    with pytest.raises(FileNotFoundError):
        cached("a", [source / "gone.cpp"], make, tmp_path / "cache")


def test_what_was_interrupted_is_made_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("a", [], fail, tmp_path)
    folder = cached("a", [], lambda folder: (folder / "whole").touch(), tmp_path)
    assert {path.name for path in folder.iterdir()} == {"whole", ".done"}
