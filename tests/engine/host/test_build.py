"""Building the C library, with a CMake that only writes down how it is called; tests/host builds it for real."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from clipshelf.bundled import host_path
from clipshelf.cli.main import main
from clipshelf.errors import ClipshelfError, MissingExtra
from clipshelf.host.build import build

SCRIPT = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *FAIL*) echo "-- looking"; echo "CMake Error: no compiler" >&2; exit 1;; esac
case "$*" in *STOP*) echo "-- looking"; echo " -- stopped"; exit 1;; esac
if [ "$1" = --install ]; then mkdir -p "{prefix}/lib" && touch "{prefix}/lib/libclipshelf.so"; fi
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="the CMake of this test is a shell script")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without programs that all programs are looked for in; pybind11 is installed."""
    pybind11 = ModuleType("pybind11")
    pybind11.__spec__ = ModuleSpec("pybind11", None)
    monkeypatch.setitem(sys.modules, "pybind11", pybind11)
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin" if sys.platform != "win32" else "")
    return folder


@pytest.fixture
def log(programs: Path, tmp_path: Path) -> Path:
    """The calls of CMake, one a line."""
    log, cmake = tmp_path / "log", programs / "cmake"
    cmake.write_text(SCRIPT.format(log=log, prefix=tmp_path / "out"))
    cmake.chmod(0o755)
    return log


@posix
def test_cmake_configures_builds_and_installs(log: Path, programs: Path, tmp_path: Path) -> None:
    library = build(tmp_path / "out", options=["-DCMAKE_BUILD_TYPE=Debug"])
    assert library == tmp_path / "out/lib/libclipshelf.so"
    configure, compile_, install = log.read_text().splitlines()
    assert configure.startswith(f"-S {host_path()} -B ") and configure.endswith(" -DCMAKE_BUILD_TYPE=Debug")
    assert f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'out'} -DPython_EXECUTABLE={programs / 'python'}" in configure
    assert f"-DCLIPSHELF_BUILT_WITH={sys.prefix}" in configure
    folder = configure.split()[3]
    assert compile_ == f"--build {folder} --config Release" and install == f"--install {folder} --config Release"
    assert not Path(folder).exists()


@posix
def test_the_command_passes_options_on(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["host", "build", "--prefix", "out", "--cmake-option=-DA=1", "--cmake-option=-DB=2"]) == 0
    assert log.read_text().splitlines()[0].endswith(" -DA=1 -DB=2")
    out = tmp_path / "out"
    assert capsys.readouterr().out == f"{out / 'lib/libclipshelf.so'}; for CMake: -DCMAKE_PREFIX_PATH={out}\n"
    assert main(["host", "build", "--prefix", "out", "--cmake-option=-DFAIL"]) == 1
    assert capsys.readouterr().err.startswith("clipshelf: expected `-S ")


@posix
def test_the_errors_of_a_failed_step_are_named(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ClipshelfError, match=r"of CMake to succeed, found: CMake Error: no compiler$"):
        build(tmp_path / "out", options=["-DFAIL"])
    with pytest.raises(ClipshelfError, match=r"of CMake to succeed, found: -- looking; -- stopped$"):
        build(tmp_path / "out", options=["-DSTOP"])


@posix
def test_a_build_without_a_library_is_an_error(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ClipshelfError, match=f"expected a library below {tmp_path / 'elsewhere'}, found none"):
        build(tmp_path / "elsewhere")


def test_what_is_missing_is_named(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClipshelfError, match=r"expected CMake 3\.18 or newer, found none"):
        build(tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pybind11", None)
    with pytest.raises(
        MissingExtra, match=r"expected the package pybind11, found none: pip install .clipshelf\[host\]"
    ):
        build(tmp_path / "out")
