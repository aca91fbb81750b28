"""Hosts that end, fork, have small stacks, ask in batches and change catalogues; and a host that was moved."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import clipshelf
import pytest
from building import COMPILER, PRODUCTS, compiled, needs_compiler, run, succeed
from clipshelf import Catalogue, Engine

pytestmark = [needs_compiler, pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")]


@pytest.fixture(scope="session")
def program(prefix: Path) -> Path:
    return compiled(prefix, "program", Path(__file__).parent / "program.cpp")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_host_may_end_with_calls_in_flight(program: Path, tiny_artifact: Path, catalogue: Path, threads: str) -> None:
    for _ in range(10):
        done = run([program, "end", tiny_artifact, catalogue, threads])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_children_of_a_host_end_normally(program: Path, tiny_artifact: Path, catalogue: Path) -> None:
    done = run([program, "fork", tiny_artifact, catalogue, "2"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "child 7\n" * 3, "")


def test_a_thread_with_too_small_a_stack_is_told(program: Path, tiny_artifact: Path, catalogue: Path) -> None:
    small = run([program, "stack", tiny_artifact, catalogue, str(128 * 1024)])
    assert small.returncode == 0, small.stderr
    assert re.fullmatch(
        r"CLIPSHELF_INVALID_ARGUMENT: thread: expected at least 262144 bytes of stack that are free, found \d+\n",
        small.stdout,
    )
    enough = run([program, "stack", tiny_artifact, catalogue, str(288 * 1024)])
    assert enough.returncode == 0, enough.stderr
    assert enough.stdout.splitlines() == [
        "2",
        "CLIPSHELF_INVALID_ARGUMENT: json: expected JSON of at most 100 levels, found 100000",
    ]


def test_one_bad_item_of_a_batch_fails_alone(program: Path, tiny_artifact: Path, catalogue: Path) -> None:
    done = run([program, "batch", tiny_artifact, catalogue])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["0 p1", "3 p2"]
    assert lines[2].startswith("failed 1 CLIPSHELF_UNKNOWN_ID ")
    assert lines[3].startswith("failed 2 CLIPSHELF_INVALID_ARGUMENT json: expected a JSON object")
    assert lines[4] == "1 1"
    assert lines[5].startswith("failed 0 CLIPSHELF_BAD_IMAGE ")


def test_a_catalogue_is_changed_and_reloaded(program: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    Catalogue.build(Engine.load(tiny_artifact), PRODUCTS).save(tmp_path / "shelf")
    done = run([program, "changes", tiny_artifact, tmp_path / "shelf"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "4 3",
        'new {"id": "new", "text": "warm shirt", "price": 7}',
        'p1 {"id": "p1", "text": "red shoe", "price": 10.0}',
        "4",
        "3 p1",
        "CLIPSHELF_UNKNOWN_ID",
    ]


def test_calls_are_cancelled_and_timed(program: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    Catalogue.build(Engine.load(tiny_artifact), PRODUCTS).save(tmp_path / "shelf")
    done = run([program, "interrupts", tiny_artifact, tmp_path / "shelf"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "in flight CLIPSHELF_CANCELLED",
        "not begun CLIPSHELF_CANCELLED",
        "add CLIPSHELF_CANCELLED",
        "recommend CLIPSHELF_CANCELLED",
        "free again CLIPSHELF_OK",
        "time CLIPSHELF_TIMED_OUT",
        "enough time CLIPSHELF_OK",
        "another thread CLIPSHELF_OK",
        "closed CLIPSHELF_INVALID_ARGUMENT",
        "3",
    ]


def test_changes_have_options_and_a_log(program: Path, tiny_artifact: Path, tmp_path: Path) -> None:
    Catalogue.build(Engine.load(tiny_artifact), PRODUCTS).save(tmp_path / "shelf")
    done = run([program, "options", tiny_artifact, tmp_path / "shelf"])
    assert (done.returncode, done.stderr) == (0, "")
    logged, *rest = done.stdout.splitlines()
    assert logged.startswith("0 log: ") and "price" in logged
    assert rest == [
        "shrink CLIPSHELF_BAD_CATALOGUE",
        "allowed CLIPSHELF_OK",
        "out of range CLIPSHELF_INVALID_ARGUMENT",
        "1 6",
        "wait CLIPSHELF_INVALID_ARGUMENT",
    ]


def test_structs_of_other_versions(program: Path, tiny_artifact: Path, catalogue: Path) -> None:
    done = run([program, "sizes", tiny_artifact, catalogue])
    assert (done.returncode, done.stdout) == (0, "0 1 0 1\n"), done.stderr


def test_the_layout_of_the_structs_is_what_it_was(prefix: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.maxsize < 2**32:
        pytest.skip("needs a C compiler for 64 bits")
    source, include = Path(__file__).parent / "abi.c", f"-I{prefix / 'include'}"
    options = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    succeed([compiler, *options, include, source, "-o", tmp_path / "abi"])
    succeed([tmp_path / "abi"])


def test_pkg_config_and_the_name_of_the_library(prefix: Path) -> None:
    assert (prefix / "lib/libclipshelf.so").resolve() == (prefix / "lib/libclipshelf.so.0").resolve()
    config = shutil.which("pkg-config")
    if config is None:
        pytest.skip("needs pkg-config")
    done = run([config, "--cflags", "--libs", "clipshelf"], PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"))
    flags = done.stdout.split()
    assert [os.path.normpath(flag[2:]) for flag in flags[:2]] == [str(prefix / "include"), str(prefix / "lib")]
    assert flags[2] == "-lclipshelf"


def test_a_host_that_was_moved_runs_on_its_own_python(
    prefix: Path, program: Path, tiny_artifact: Path, catalogue: Path, tmp_path: Path
) -> None:
    """The layout of host/README.md: program, library and a whole Python below one folder."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("needs a Python with a shared library")
    built, moved = tmp_path / "built", tmp_path / "a folder of another name"
    copy_python(built / "python")
    shutil.copytree(prefix / "lib", built / "lib", symlinks=True)
    (built / "bin").mkdir()
    flags = [f"-I{prefix / 'include'}", f"-L{built / 'lib'}", "-lclipshelf", "-Wl,-rpath,$ORIGIN/../lib", "-pthread"]
    source = Path(__file__).parent / "program.cpp"
    succeed([str(COMPILER), "-std=c++17", source, "-o", built / "bin/program", *flags])
    built.rename(moved)
    done = subprocess.run(
        [moved / "bin/program", "maps", tiny_artifact, catalogue],
        capture_output=True,
        text=True,
        check=False,
        env={"CLIPSHELF_VENV": "$ORIGIN/../python"},
    )
    assert done.returncode == 0, done.stderr
    of_python = [line for line in done.stdout.splitlines() if "python" in line.lower()]
    assert of_python and [line for line in of_python if not line.startswith(str(moved))] == []


def copy_python(folder: Path) -> None:
    """A copy of this Python with what the engine needs, as a device would have it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base, packages = Path(sys.base_prefix), folder / "lib" / version / "site-packages"
    skipped = shutil.ignore_patterns("site-packages", "test", "config-*", "__pycache__", "*.a", "tkinter", "idlelib")
    shutil.copytree(base / "lib" / version, folder / "lib" / version, ignore=skipped, symlinks=True)
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy(library, folder / "lib", follow_symlinks=False)
    (folder / "bin").mkdir()
    shutil.copy((base / "bin/python3").resolve(), folder / "bin/python3")
    packages.mkdir(exist_ok=True)
    here = Path(sysconfig.get_path("purelib"))
    for name in ("numpy", "numpy.libs", "onnxruntime", "PIL", "pillow.libs", "tokenizers", "tqdm", "flatbuffers"):
        if (here / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "tests")
            shutil.copytree(here / name, packages / name, ignore=ignored, copy_function=link_or_copy)
    engine = Path(clipshelf.__file__).parent
    shutil.copytree(engine, packages / "clipshelf", ignore=shutil.ignore_patterns("__pycache__"))


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
