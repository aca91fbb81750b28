"""Builds libclipshelf, the engine behind a C interface, for the Python environment that runs this."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from clipshelf.bundled import host_path
from clipshelf.errors import ClipshelfError, MissingExtra


def build(prefix: Path, *, options: Sequence[str] = ()) -> Path:
    """Build and install the library, its headers and its CMake package to the folder `prefix`; the library's path.

    `options` go to CMake as they are. What is built runs on this environment wherever a host names no other.
    Raises MissingExtra without pybind11, ClipshelfError without CMake or when a step fails, with what it said.
    """
    if importlib.util.find_spec("pybind11") is None:
        raise MissingExtra("expected the package pybind11, found none: pip install 'clipshelf[host]'")
    cmake = shutil.which("cmake", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if cmake is None:
        raise ClipshelfError("expected CMake 3.18 or newer, found none: pip install cmake")
    prefix = prefix.absolute()
    with tempfile.TemporaryDirectory(prefix="clipshelf-host-") as folder:
        where = [f"-DPython_EXECUTABLE={sys.executable}", f"-DCLIPSHELF_BUILT_WITH={sys.prefix}"]
        _run([cmake, "-S", str(host_path()), "-B", folder, f"-DCMAKE_INSTALL_PREFIX={prefix}", *where, *options])
        _run([cmake, "--build", folder, "--config", "Release"])
        _run([cmake, "--install", folder, "--config", "Release"])
    found = sorted((*prefix.glob("lib*/libclipshelf.*"), *prefix.glob("bin/clipshelf.dll")))
    if not found:
        raise ClipshelfError(f"expected a library below {prefix}, found none")
    return found[0]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        wrong = [line for line in said if "error" in line.lower()] or said
        raise ClipshelfError(f"expected `{' '.join(command[1:3])}` of CMake to succeed, found: {'; '.join(wrong[:6])}")
