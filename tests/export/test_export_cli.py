"""What `clipshelf export` reads from its arguments, which takes no torch."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import pytest
from clipshelf_export.cli import add_arguments


def parse(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["source", "out", *options])


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        ("0.9", 0.9),
        ("1", 1.0),
        ("0", 0.0),
        ("vision=0.9", {"vision": 0.9}),
        ("text=.8", {"text": 0.8}),
        ("vision=0.9,text=0.8", {"vision": 0.9, "text": 0.8}),
        ("text=0.8,vision=0.9", {"vision": 0.9, "text": 0.8}),
    ],
)
def test_overlap_of_both_towers_or_by_tower(text: str, overlap: object) -> None:
    assert parse("--min-overlap", text).min_overlap == overlap


def test_overlap_is_left_to_the_pipeline_when_not_said() -> None:
    assert parse().min_overlap is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("much", "a number from 0 to 1, found 'much'"),
        ("", "a number from 0 to 1, found ''"),
        ("1.01", "a number from 0 to 1, found '1.01'"),
        ("-0.1", "a number from 0 to 1, found '-0.1'"),
        ("nan", "a number from 0 to 1, found 'nan'"),
        ("0.9,0.8", "a number from 0 to 1, found '0.9,0.8'"),
        ("vision=", "a number from 0 to 1, found ''"),
        ("vision=0.9,text", "a number from 0 to 1, found ''"),
        ("vision=2", "a number from 0 to 1, found '2'"),
        ("audio=0.9", "numbers for vision or text, found 'audio=0.9'"),
        ("vision=0.9,Text=0.8", "numbers for vision or text, found 'vision=0.9,Text=0.8'"),
        ("=0.9", "numbers for vision or text, found '=0.9'"),
    ],
)
def test_bad_overlaps_are_misuse(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(f"--min-overlap={text}")
    assert exit_.value.code == 2
    assert f"argument --min-overlap: expected {message}" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_threads_are_a_whole_number_from_1_on(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse("--threads", "3").threads == 3
    with pytest.raises(SystemExit):
        parse(f"--threads={text}")
    assert f"argument --threads: expected a whole number from 1 on, found {text!r}" in capsys.readouterr().err


def test_the_package_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "clipshelf_export", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: clipshelf export")


def test_without_its_extra_it_explains_itself_and_says_what_to_install() -> None:
    lean = "import sys; sys.modules |= dict.fromkeys(('torch', 'onnx', 'transformers', 'huggingface_hub'));"
    command = [
        sys.executable,
        "-c",
        f"{lean} from clipshelf.cli.main import main; sys.exit(main(sys.argv[1:]))",
        "export",
    ]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--min-overlap" in done.stdout
    done = subprocess.run([*command, "source", "out"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"clipshelf: export needs \w+: pip install 'clipshelf\[export\]'\n", done.stderr)
