"""Graphs of strangers that call the operators wrongly: each is computed or refused, within its own memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_runner import native_build
from support.fuzzing import SECONDS

GRAPHS = 150


def sanitizer_runtime(name: str) -> str:
    """The shared library of a sanitizer, which a Python without sanitizers has to load first."""
    compiler = os.environ.get("CC", "cc")
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"needs {name}")
    return found


@pytest.mark.parametrize("instruction_set", ["", "portable"])
def test_fuzz_graphs_of_one_operator(instruction_set: str) -> None:
    (library,) = (native_build("address,undefined") / "native").glob("clipshelf_native.*")
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=0",  # those of Python
        "LD_PRELOAD": ":".join(map(sanitizer_runtime, ("libasan.so", "libubsan.so"))),
        "CLIPSHELF_KERNELS": instruction_set,
    }
    seed = os.getpid() if SECONDS else 2
    script = str(Path(__file__).with_name("hostile_graphs.py"))
    command = [sys.executable, script, str(library), str(seed), str(GRAPHS), str(SECONDS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, [*done.stdout.splitlines()[-1:], done.stderr[-2000:]]
