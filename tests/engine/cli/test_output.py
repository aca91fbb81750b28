"""Standard output that is closed, full, or in an encoding that lacks characters; paths and ids that are no Unicode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine

TEXTS = {"long": "long word " * 20, "smile": "nice \U0001f642 shoe", "attack": "a\x1b[31mb\u202ec"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Path) -> Path:
    """The folder of a catalogue named shelf, with a model beside it."""
    folder = tmp_path_factory.mktemp("output")
    products = [{"id": id_, "text": text} for id_, text in TEXTS.items()]
    Catalogue.build(Engine.load(tiny_artifact, threads=1), products).save(folder / "shelf")
    return folder


def clipshelf(
    folder: Path, *arguments: str | bytes, encoding: str = "utf-8", redirect: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a shell that applies `redirect`."""
    command = ["sh", "-c", f'exec "$0" -m clipshelf "$@" {redirect}', sys.executable, *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=100)


RECOMMEND = ("recommend", "--catalogue", "shelf", "--text", "red")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_an_answer_is_printed_in_every_encoding(folder: Path, encoding: str) -> None:
    table = clipshelf(folder, *RECOMMEND, encoding=encoding)
    assert (table.returncode, table.stderr) == (0, b"")
    lines = table.stdout.decode(encoding).splitlines()
    assert len(lines) == 4 and ("\U0001f642" if encoding == "utf-16" else "\\U0001f642") in "".join(lines)
    answer = clipshelf(folder, *RECOMMEND, "--json", encoding=encoding)
    items = json.loads(answer.stdout.decode(encoding))["recommendations"]
    assert {item["id"]: item["product"]["text"] for item in items} == TEXTS


def test_control_characters_are_not_printed_raw(folder: Path) -> None:
    page = folder / "page.html"
    for arguments in (
        [],
        ["--json"],
        ["--explain"],
        ["--like", "attack"],
        ["--like", "\x1b[31m"],
        ["--where", "\x1b=\x9b"],
    ):
        done = clipshelf(folder, *RECOMMEND, *arguments)
        printed = done.stdout.decode() + done.stderr.decode()
        assert not any(character in printed for character in "\x1b\x9b\u202e"), arguments
    assert clipshelf(folder, *RECOMMEND, "--html", str(page)).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_closed_and_full_outputs_are_told_in_one_line(folder: Path) -> None:
    for arguments in (RECOMMEND, (*RECOMMEND, "--json"), ("info", "shelf")):
        closed = clipshelf(folder, *arguments, redirect=">&-")
        assert closed.returncode == 1
        assert closed.stderr == b"clipshelf: standard output: expected it to be open, found it closed\n"
        assert clipshelf(folder, *arguments, redirect="2>&-").returncode == 0
        assert clipshelf(folder, *arguments, redirect=">&- 2>&-").returncode == 1
        if Path("/dev/full").exists():
            full = clipshelf(folder, *arguments, redirect=">/dev/full")
            assert full.returncode == 1 and len(full.stderr.splitlines()) == 1
            assert full.stderr.endswith(b": No space left on device\n")


@pytest.mark.skipif(sys.platform != "linux", reason="needs arguments of any bytes")
def test_arguments_that_are_no_unicode_are_told_in_one_line(folder: Path) -> None:
    for arguments, code in (
        ((*RECOMMEND, "--like", b"caf\xe9"), 2),
        ((*RECOMMEND, "--exclude", b"caf\xe9"), 2),
        (("recommend", "--catalogue", "shelf", "--text", b"caf\xe9"), 2),
        ((*RECOMMEND, "--where", b"caf\xe9=1"), 1),
        ((*RECOMMEND, "--image", b"caf\xe9.png"), 1),
        ((*RECOMMEND, "--html", b"caf\xe9/page.html"), 1),
        (("recommend", "--catalogue", b"caf\xe9", "--text", "red"), 1),
        (("info", b"caf\xe9"), 1),
    ):
        done = clipshelf(folder, *arguments)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr and b"caf" in done.stderr.splitlines()[-1]
        assert code == 2 or len(done.stderr.splitlines()) == 1
