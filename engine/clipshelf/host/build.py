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
    """Build and install the library, its headers and its CMake package.

    - `prefix`: the folder to install to.
    - `options`: arguments for CMake, such as `-DNAME=VALUE`.

    Returns the path of the library. It runs on the environment of this interpreter unless a host names another one.
    Raises MissingExtra without pybind11, and ClipshelfError without CMake or when one of its steps fails.
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
    libraries = sorted((*prefix.glob("lib*/libclipshelf.*"), *prefix.glob("bin/clipshelf.dll")))
    if not libraries:
        raise ClipshelfError(f"expected a library below {prefix}, found none")
    return libraries[0]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise ClipshelfError(f"expected `{' '.join(command[1:3])}` of CMake to succeed, found: {'; '.join(errors[:6])}")
