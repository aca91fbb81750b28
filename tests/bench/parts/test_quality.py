from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf_bench.cli import main
from clipshelf_bench.parts.quality import picture_hits, retrieval_table
from PIL import Image
from support import tiny


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    folder = tmp_path / "usr/share/tuxpaint/stamps/colours"
    folder.mkdir(parents=True)
    for colour in tiny.COLOURS:
        Image.fromarray(tiny.picture(colour)).save(folder / f"{colour}.png")
        (folder / f"{colour}.txt").write_text(f"{colour}\nfr.utf8=autre\n")
    return tmp_path


def test_colours_find_their_words(tiny_artifact: Path, stamps: Path) -> None:
    table = retrieval_table(Engine.load(tiny_artifact), stamps)
    assert [row["recall"] for row in table.rows] == [1.0] * 6
    assert table.rows[0]["chance"] == table.rows[3]["chance"] == pytest.approx(1 / 3)
    assert "3 pictures and 3 different sentences" in table.notes[0]


def test_a_sentence_finds_any_of_its_pictures() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.7]], np.float32)
    targets = np.array([0, 0, 1])
    assert picture_hits(scores, targets, 1).tolist() == [1.0, 0.0]
    assert picture_hits(scores, targets, 2).tolist() == [1.0, 1.0]


def test_command_prints_and_writes(
    tiny_artifact: Path,
    stamps: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLIPSHELF_BENCH_CACHE", str(tmp_path / "cache"))
    results = tmp_path / "quality.json"
    options = ["--artifact", str(tiny_artifact), "--stamps", str(stamps), "--json", str(results)]
    assert main(["quality", *options]) == 0
    assert "picture to sentence" in capsys.readouterr().out
    assert '"commit"' in results.read_text()


def test_no_stamps_is_one_line(tiny_artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--artifact", str(tiny_artifact), "--stamps", str(tmp_path)]) == 1
    assert "no stamps at" in capsys.readouterr().err
