"""The machine that was measured: what it is, what is installed, and the peaks that bound every tower."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.runtime.cpus import available_cpus

from clipshelf_bench.machine import cpu
from clipshelf_bench.race.process import child_environment

_PACKAGES = (
    *("clipshelf", "numpy", "onnxruntime", "pillow", "tokenizers", "torch", "transformers", "optimum-onnx"),
    *("openvino", "nncf", "fastembed", "modern-onnx-clip", "faiss-cpu", "usearch", "hnswlib"),
)
_FLAGS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "sve"),
)
_SECONDS = 0.5


def describe(threads: int) -> dict[str, Any]:
    """CPU, cores, instruction sets, versions, date and commit, as plain values."""
    flags = cpu.flags()
    return {
        "cpu": _cpu_name(),
        "cpus": available_cpus(),
        "threads": threads,
        "instruction_sets": [flag for flag in _FLAGS if flag in flags],
        "memory_gb": round(_memory_bytes() / 1e9, 1),
        "os": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }


def peaks(threads: int) -> dict[str, float]:
    """What `_peaks` measures, in a process without the settings that slow NumPy and with one thread per BLAS call."""
    command = [sys.executable, "-m", __name__, str(threads)]
    done = subprocess.run(command, env=child_environment(1), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"expected to measure the machine's peaks, found: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _peaks(threads: int) -> dict[str, float]:
    """Measured bounds: `int8_gmacs` and `fp32_gmacs` (1e9 multiply-adds per second), `read_gbs` (1e9 bytes per second).

    The matrices are as wide as a ViT-B MLP and tall enough that every core is busy; weights are constants, so that
    onnxruntime packs them once, as it does for a model.
    """
    return {
        "int8_gmacs": _matmul_rate(threads, "int8"),
        "fp32_gmacs": _matmul_rate(threads, "fp32"),
        "read_gbs": _read_rate(threads),
    }


def _matmul_rate(threads: int, precision: str, rows: int = 1024, inner: int = 3072, columns: int = 3072) -> float:
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    if precision == "int8":
        kind, result, op = TensorProto.UINT8, TensorProto.INT32, "MatMulInteger"
        weights = rng.integers(-127, 128, (inner, columns), dtype=np.int8)
        x: np.ndarray[Any, Any] = rng.integers(0, 256, (rows, inner), dtype=np.uint8)
    else:
        kind, result, op = TensorProto.FLOAT, TensorProto.FLOAT, "MatMul"
        weights = rng.standard_normal((inner, columns), dtype=np.float32)  # type: ignore[assignment]
        x = rng.standard_normal((rows, inner), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"])],
        "peak",
        [helper.make_tensor_value_info("x", kind, [rows, inner])],
        [helper.make_tensor_value_info("y", result, [rows, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return rows * inner * columns / _best_seconds(lambda: session.run(None, {"x": x})) / 1e9


def _read_rate(threads: int) -> float:
    """Best rate of reading 512 MB, a share per thread, by dot products that do little else."""
    values = np.ones((1 << 13, 1 << 14), np.float32)
    ones = np.ones(values.shape[1], np.float32)
    shares = np.array_split(values, threads)
    with ThreadPoolExecutor(threads) as pool:
        return values.nbytes / _best_seconds(lambda: list(pool.map(lambda share: share @ ones, shares))) / 1e9


def _best_seconds(call: Callable[[], object]) -> float:
    """Shortest of the runs that fit in a while: a peak is what the machine can do undisturbed."""
    call()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _cpu_name() -> str:
    """Model name; processors that hide it behind a bare brand get family and model number too."""
    name = cpu.field("model name") or platform.processor() or platform.machine()
    family, model = cpu.field("cpu family"), cpu.field("model")
    return f"{name} (family {family}, model {model})" if family else name


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Commit of the checkout that this file is part of, with a plus where it was changed; "unknown" outside of one."""
    here = Path(__file__).resolve().parent
    try:
        command = ["git", "--no-optional-locks", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    print(json.dumps(_peaks(int(sys.argv[1]))))
