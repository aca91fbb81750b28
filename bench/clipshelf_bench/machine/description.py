"""What the machine is and what is installed on it, for the head of a report."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from clipshelf.runtime.cpus import available_cpus

from clipshelf_bench.machine.cpu import cpuinfo_field, instruction_sets

_PACKAGES = (
    *("clipshelf", "numpy", "onnxruntime", "pillow", "tokenizers", "torch", "transformers", "optimum-onnx"),
    *("starlette", "uvicorn", "fastapi"),
    *("openvino", "nncf", "fastembed", "modern-onnx-clip", "faiss-cpu", "usearch", "hnswlib"),
)
# Instruction sets that decide how fast the measured libraries are.
_INSTRUCTION_SETS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "sve"),
)


def describe_machine(threads: int) -> dict[str, Any]:
    """CPU, memory, instruction sets, versions, date and commit, as plain values.

    - `threads`: threads of every contender, which the report states beside the CPUs.
    """
    available = instruction_sets()
    return {
        "cpu": _cpu_name(),
        "cpus": available_cpus(),
        "threads": threads,
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in available],
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "os": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def _cpu_name() -> str:
    """Model name, with family and model number where there are any: virtual machines often hide the model's name."""
    name = cpuinfo_field("model name") or platform.processor() or platform.machine()
    family, model = cpuinfo_field("cpu family"), cpuinfo_field("model")
    return f"{name} (family {family}, model {model})" if family else name


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Commit of the checkout that this file is in, with a plus where files were changed; "unknown" outside of one."""
    folder = Path(__file__).resolve().parent
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
