from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import clipshelf
import pytest
from clipshelf.bundled import model_path
from clipshelf.cli.main import main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    output = capsys.readouterr().out
    commands = ("demo", "index", "add", "update", "remove", "verify", "recommend", "info", "export")
    assert all(command in output for command in commands)


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"clipshelf {clipshelf.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["recommend"],
        ["recommend", "--catalogue", "x"],
        ["index", "x"],
        ["bench", "--products", "0"],
        ["bench", "--threads", "-1"],
        ["dance"],
        ["recommend", "--catalogue", "x", "--text", "y", "-k", "0"],
        ["recommend", "--catalogue", "x", "--text", "y", "--weights", "text"],
        ["recommend", "--catalogue", "x", "--text", "y", "--weights", "colours=1"],
        ["recommend", "--catalogue", "x", "--text", "y", "--weights", "text=-1"],
        ["recommend", "--catalogue", "x", "--text", " "],
        ["recommend", "--catalogue", "x", "--like", "a", "1", "2"],
        ["recommend", "--catalogue", "x", "--history", "a", "viewed"],
        ["recommend", "--catalogue", "x", "--history", "a", "eaten", "2026-01-01"],
        ["recommend", "--catalogue", "x", "--text", "y", "--where", ""],
        ["recommend", "--catalogue", "x", "--text", "y", "--diversity", "2"],
    ],
)
def test_misuse_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_failure_exits_with_1_and_one_line(catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    for argv in (
        ["recommend", "--catalogue", str(tmp_path / "nowhere"), "--text", "x"],
        ["recommend", "--catalogue", str(catalogue), "--text", "x", "--where", "colour=red"],
        ["recommend", "--catalogue", str(catalogue), "--like", "nobody"],
        ["recommend", "--catalogue", str(catalogue), "--image", str(tmp_path / "nowhere.png")],
        ["recommend", "--catalogue", str(catalogue), "--text", "red", "--artifact", str(tmp_path)],
        ["index", str(tmp_path / "nowhere.csv"), str(tmp_path / "out")],
        ["info", str(tmp_path / "nowhere")],
        ["info", str(broken)],
    ):
        assert main(argv) == 1
        output = capsys.readouterr()
        assert output.out == "" and len(output.err.splitlines()) == 1 and output.err.startswith("clipshelf: ")


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "clipshelf", "info", str(model_path())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1
