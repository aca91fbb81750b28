from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from clipshelf.runtime.native import kernel_path
from clipshelf_bench.machine.compiled import compiled_library

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the sources are for Linux on x86-64"
)


def test_a_bare_product_instruction_has_a_rate(tmp_path: Path) -> None:
    rate = ctypes.CDLL(str(compiled_library("bare_products", tmp_path))).bare_rate
    rate.restype = ctypes.c_double
    assert rate(b"unknown") == 0
    name = kernel_path()
    if name not in ("amx", "avx512vnni", "avxvnni", "avx2"):
        pytest.skip(f"this machine runs {name}")
    assert 1e9 < rate(name.encode()) < 1e14


def test_a_process_can_be_shown_avx2_alone(tmp_path: Path) -> None:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    if not {"cpuid_fault", "avx2"} <= flags or kernel_path() in (None, "avx2"):
        pytest.skip("needs a CPUID instruction that can fault, and native kernels beyond AVX2")
    probe = "from clipshelf.runtime.native import describe_kernels as d; print(d())"
    environment = {name: value for name, value in os.environ.items() if name != "CLIPSHELF_KERNELS"}
    environment["LD_PRELOAD"] = str(compiled_library("avx2_only", tmp_path))
    shown = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "avx2"


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match=r"expected a C compiler for bare_products\.c"):
        compiled_library("bare_products", tmp_path)
