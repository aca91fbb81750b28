"""How the tests compile and run programs with the library."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.build_cache import cached

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(
    not (
        COMPILER
        and importlib.util.find_spec("pybind11")
        and (importlib.util.find_spec("cmake") or shutil.which("cmake"))
    ),
    reason="needs a C++ compiler, CMake and pybind11",
)
PRODUCTS = [
    {"id": "p1", "text": "red shoe", "price": 10.0},
    {"id": "p2", "text": "blue shirt", "price": 20.0},
    {"id": "p3", "text": "green watch", "price": 30.0},
]


def run(command: list[str | Path], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | variables
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


def succeed(command: list[str | Path]) -> None:
    done = run(command)
    assert done.returncode == 0, done.stderr


def with_library(prefix: Path, source: Path, program: Path) -> list[str | Path]:
    """The command that compiles a program with the library installed in `prefix`."""
    lib = prefix / "lib"
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{prefix / 'include'}", f"-L{lib}"]
    return [str(COMPILER), *options, source, "-o", program, "-lclipshelf", f"-Wl,-rpath,{lib}", "-pthread", "-ldl"]


def compiled(prefix: Path, name: str, source: Path) -> Path:
    """A program with the installed library; `prefix` names its hash, so that it is compiled again with another."""

    def make(folder: Path) -> None:
        succeed(with_library(prefix, source, folder / name))

    return cached(name, [*map(str, with_library(prefix, source, Path(name))), source], make) / name
