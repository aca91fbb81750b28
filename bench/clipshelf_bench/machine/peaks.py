"""The highest rates that this machine reaches: multiply-adds in int8 and fp32, and bytes read from memory.

For int8 there is the rate of bare instructions, which no kernel exceeds, and that of onnxruntime's product.

They bound every tower and every scan; `roofline` says what a graph needs of them.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.runtime.native import load_kernels

from clipshelf_bench.machine.compiled import compiled_library
from clipshelf_bench.machine.environment import child_environment

_SECONDS = 0.5
# As wide as the MLP of a ViT-B, and tall enough that every core is busy.
_ROWS, _INNER, _COLUMNS = 1024, 3072, 3072
# Instruction sets of a CPU that has the one on the left: each is a limit of a kernel that runs there.
_BARE = {
    "amx": ("amx", "avx512vnni", "avxvnni", "avx2"),
    "avx512vnni": ("avx512vnni", "avx2"),
    "avxvnni": ("avxvnni", "avx2"),
    "avx2": ("avx2",),
}


def measure_peaks(threads: int, folder: Path) -> dict[str, float]:
    """Measure the peaks in a process of its own, whose BLAS calls have one thread.

    - `threads`: threads that compute and read.
    - `folder`: keeps what is compiled for it.

    Returns rates in 1e9 per second, of multiply-adds and of bytes:

    - `int8_gmacs`: the limit in int8, the largest of the following rates in int8.
    - `bare_<name>_gmacs`: of the product instruction of an instruction set alone; missing where it was not measured.
    - `int8_product_gmacs`, `fp32_gmacs`: of a large product in onnxruntime.
    - `read_gbs`: of reading memory.

    Raises RuntimeError when the process fails.
    """
    command = [sys.executable, "-m", __name__, str(threads), str(folder)]
    done = subprocess.run(command, env=child_environment(1), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"expected to measure the machine's peaks, found: {done.stderr.strip()[-300:]}")
    peaks: dict[str, float] = json.loads(done.stdout)
    return peaks


def _measure_here(threads: int, folder: Path) -> dict[str, float]:
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 256, (_ROWS, _INNER), dtype=np.uint8)
    integer_weights = rng.integers(-127, 128, (_INNER, _COLUMNS), dtype=np.int8)
    floats = rng.standard_normal((_ROWS, _INNER), dtype=np.float32)
    float_weights = rng.standard_normal((_INNER, _COLUMNS), dtype=np.float32)
    int8 = {"int8_product_gmacs": _matmul_rate(threads, "MatMulInteger", integers, integer_weights)}
    int8 |= _bare_rates(threads, folder)
    return {
        "int8_gmacs": max(int8.values()),
        **int8,
        "fp32_gmacs": _matmul_rate(threads, "MatMul", floats, float_weights),
        "read_gbs": _read_rate(threads),
    }


def _bare_rates(threads: int, folder: Path) -> dict[str, float]:
    """1e9 multiply-adds per second of bare instructions; empty where no kernels run or no C compiler is there."""
    kernels = load_kernels()
    names = _BARE.get(kernels.instruction_set, ()) if kernels else ()
    try:
        rate = ctypes.CDLL(str(compiled_library("bare_products", folder))).bare_rate
    except RuntimeError as error:
        print(f"no peaks of bare instructions: {error}", file=sys.stderr)
        return {}
    rate.restype = ctypes.c_double
    with ThreadPoolExecutor(threads) as pool:
        return {f"bare_{name}_gmacs": sum(pool.map(rate, [name.encode()] * threads)) / 1e9 for name in names}


def _matmul_rate(threads: int, operator: str, x: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> float:
    """1e9 multiply-adds per second of a matrix product in onnxruntime, whose weights are constants as in a model."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    input_type, output_type = (
        (TensorProto.UINT8, TensorProto.INT32) if x.dtype == np.uint8 else (TensorProto.FLOAT, TensorProto.FLOAT)
    )
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "peak",
        [helper.make_tensor_value_info("x", input_type, [_ROWS, _INNER])],
        [helper.make_tensor_value_info("y", output_type, [_ROWS, _COLUMNS])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return _ROWS * _INNER * _COLUMNS / _best_seconds(lambda: session.run(None, {"x": x})) / 1e9


def _read_rate(threads: int) -> float:
    """1e9 bytes per second of reading 512 MB, a share per thread, by dot products that do little else."""
    values = np.ones((1 << 13, 1 << 14), np.float32)
    ones = np.ones(values.shape[1], np.float32)
    shares = np.array_split(values, threads)
    with ThreadPoolExecutor(threads) as pool:
        return values.nbytes / _best_seconds(lambda: list(pool.map(lambda share: share @ ones, shares))) / 1e9


def _best_seconds(call: Callable[[], object]) -> float:
    """The shortest call within `_SECONDS`: a peak is what the machine does when nothing disturbs it."""
    call()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    print(json.dumps(_measure_here(int(sys.argv[1]), Path(sys.argv[2]))))
