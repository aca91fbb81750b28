"""The library of native kernels, compiled from this checkout's sources."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from clipshelf.runtime import native

SOURCES = Path(__file__).resolve().parents[2] / "engine" / "native"
MACHINE = platform.machine()


def _compiler() -> str | None:
    """A C compiler for this machine, which is an emulated one where the host's compiler makes programs of another."""
    found = (shutil.which(name) for name in ("cc", "gcc", "clang", f"{MACHINE}-linux-gnu-gcc"))
    for compiler in filter(None, found):
        target = subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True, check=False).stdout
        if MACHINE != "aarch64" or target.startswith((MACHINE, "arm64")):
            return compiler
    return None


COMPILER = _compiler()
CMAKE = [cmake] if (cmake := shutil.which("cmake")) else [sys.executable, "-m", "cmake"]


def native_library(*options: str) -> Path:
    """The library, compiled now or by an earlier run; skips the test where there is no compiler.

    - `options`: further ones for CMake, as in "-DCLIPSHELF_SANITIZE=thread".
    """
    if not (COMPILER and (len(CMAKE) == 1 or importlib.util.find_spec("cmake"))):
        pytest.skip("needs a C compiler and CMake")
    from support.build_cache import CHECKOUT, cached

    version = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    sources = [SOURCES / "CMakeLists.txt", *sorted(SOURCES.glob("*.[ch]"))]

    def make(folder: Path) -> None:
        flags = [f"-DCMAKE_C_COMPILER={COMPILER}", "-DCLIPSHELF_WARNINGS_AS_ERRORS=ON", *options]
        if shutil.which("aarch64-linux-gnu-gcc") == COMPILER:
            flags += ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
        _run("-S", str(SOURCES), "-B", str(folder / "build"), *flags)
        _run("--build", str(folder / "build"))

    name = "-".join(["native", MACHINE, *(option.strip("-").replace("=", "-").replace(",", "-") for option in options)])
    folder = cached(name, [*sources, COMPILER, version, str(CHECKOUT), *options], make)
    return next((folder / "build").glob("clipshelf_native.*"))


@contextmanager
def running_kernels(instruction_set: str) -> Iterator[None]:
    """Have what is made meanwhile use an instruction set of the compiled library, "" for the best one.

    Skips the test where this CPU lacks it. "off" is onnxruntime, which needs no library.
    """
    folders = () if instruction_set == native.OFF else (native_library().parent,)
    with (
        mock.patch.dict(os.environ, {native.VARIABLE: instruction_set}),
        mock.patch.object(native, "_FOLDERS", folders),
    ):
        native._load.cache_clear()
        try:
            if instruction_set not in ("", native.OFF):
                library = ctypes.CDLL(str(native_library()))
                if not library.clipshelf_has_instruction_set(instruction_set.encode()):
                    pytest.skip(f"this CPU lacks {instruction_set}")
            yield
        finally:
            native._load.cache_clear()


def _run(*arguments: str) -> None:
    done = subprocess.run([*CMAKE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
