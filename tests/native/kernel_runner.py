"""Builds `kernel_runner.c`, and runs it on cases: the kernels of every instruction set, without onnxruntime."""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from support.build_cache import CHECKOUT, cached

Array: TypeAlias = npt.NDArray[Any]

SOURCES = CHECKOUT / "engine" / "native"
OPERATORS = ("linear", "float_linear", "norm", "attention", "normalize", "function", "scan")
CPU_LACKS_IT = 3  # exit status of the runner

_CMAKE = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
_COMPILER = shutil.which(os.environ.get("CC", "cc"))
_ARM_COMPILER, _ARM_EMULATOR = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64-static")


@dataclass(frozen=True)
class Case:
    """Inputs of an operator, in the order that `kernel_runner.c` gives there; None for an array that is absent."""

    operator: str
    integers: Sequence[int]
    arrays: Sequence[Array | None]
    floats: Sequence[float] = ()


@dataclass(frozen=True)
class Result:
    """What a case gave: the output, float32 or uint8, and the outlier channels, float32, both flat."""

    output: Array
    outliers: Array


def run(command: Sequence[str | Path], **variables: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, env={**os.environ, **variables}
    )
    if done.returncode == CPU_LACKS_IT:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr


@functools.cache
def native_build(sanitize: str = "", compiler: str = "") -> Path:
    """The folder with `kernel_runner` and the library for this machine."""
    compiler = shutil.which(compiler) or "" if compiler else _COMPILER or ""
    if not (_CMAKE and compiler):
        pytest.skip("needs a C compiler and CMake")
    options = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", f"-DCLIPSHELF_SANITIZE={sanitize}"] if sanitize else []
    return _build(f"native-{Path(compiler).name}-{sanitize or 'release'}", compiler, options)


@functools.cache
def arm_build() -> Path:
    """The folder with `kernel_runner` for 64-bit ARM, linked statically for the emulator."""
    if not (_CMAKE and _ARM_COMPILER and _ARM_EMULATOR):
        pytest.skip("needs CMake, aarch64-linux-gnu-gcc and qemu-aarch64-static")
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", "-DCMAKE_EXE_LINKER_FLAGS=-static"]
    return _build("native-arm64", _ARM_COMPILER, target)


def _build(name: str, compiler: str, options: Sequence[str]) -> Path:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    tests = Path(__file__).parent
    sources = [SOURCES, tests / "CMakeLists.txt", tests / "kernel_runner.c"]
    inputs: list[Path | str] = [*sources, compiler, version, *options, str(CHECKOUT)]

    def make(folder: Path) -> None:
        settings = [f"-DCMAKE_C_COMPILER={compiler}", "-DCLIPSHELF_WARNINGS_AS_ERRORS=ON", *options]
        run([str(_CMAKE), "-S", tests, "-B", folder, *settings])
        run([str(_CMAKE), "--build", folder, "--parallel", "2"])

    return cached(name, inputs, make)


def compute(
    cases: Sequence[Case], instruction_set: str, *, threads: int = 1, build: Path | None = None, cpu: str = ""
) -> list[Result]:
    """Compute cases with an instruction set; on an emulated ARM CPU where `cpu` names one.

    Skips the test where the CPU, or the tools, lack it.
    """
    runner = (build or (arm_build() if cpu else native_build())) / "kernel_runner"
    emulator = [str(_ARM_EMULATOR), "-cpu", cpu] if cpu else []
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "cases", Path(folder) / "results"
        inputs.write_bytes(b"".join(map(_encode, cases)))
        run([*emulator, runner, instruction_set, str(threads), inputs, outputs])
        return _decode(outputs.read_bytes(), cases)


def _encode(case: Case) -> bytes:
    counts = (OPERATORS.index(case.operator), len(case.integers), len(case.floats), len(case.arrays))
    head = struct.pack("<4q", *counts)
    numbers = struct.pack(f"<{len(case.integers)}q{len(case.floats)}d", *case.integers, *case.floats)
    return head + numbers + b"".join(map(_encode_array, case.arrays))


def _encode_array(array: Array | None) -> bytes:
    if array is None:
        return struct.pack("<q", -1)
    data = np.ascontiguousarray(array).tobytes()
    return struct.pack("<q", len(data)) + data + bytes(-len(data) % 8)


def _decode(data: bytes, cases: Sequence[Case]) -> list[Result]:
    position = 0

    def array(dtype: type[np.generic]) -> Array:
        nonlocal position
        (size,) = struct.unpack_from("<q", data, position)
        values = np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, position + 8)
        position += 8 + size + -size % 8
        return values

    results = [Result(array(np.uint8 if _rounded(case) else np.float32), array(np.float32)) for case in cases]
    assert position == len(data)
    return results


def _rounded(case: Case) -> bool:
    """Whether the output of a case is uint8."""
    flag = {"linear": 6, "norm": 2, "attention": 6}.get(case.operator)
    return flag is not None and bool(case.integers[flag])
