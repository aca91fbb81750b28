"""The highest rates that this machine reaches: multiply-adds in int8 and fp32, and bytes read from memory.

They bound every tower and every scan; `roofline` says what a graph needs of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from clipshelf_bench.machine.environment import child_environment

_SECONDS = 0.5
# As wide as the MLP of a ViT-B, and tall enough that every core is busy.
_ROWS, _INNER, _COLUMNS = 1024, 3072, 3072


def measure_peaks(threads: int) -> dict[str, float]:
    """Measure the peaks in a process of its own, whose BLAS calls have one thread.

    - `threads`: threads that compute and read.

    Returns int8_gmacs and fp32_gmacs (1e9 multiply-adds per second) and read_gbs (1e9 bytes per second).
    Raises RuntimeError when the process fails.
    """
    command = [sys.executable, "-m", __name__, str(threads)]
    done = subprocess.run(command, env=child_environment(1), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"expected to measure the machine's peaks, found: {done.stderr.strip()[-300:]}")
    peaks: dict[str, float] = json.loads(done.stdout)
    return peaks


def _measure_here(threads: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 256, (_ROWS, _INNER), dtype=np.uint8)
    integer_weights = rng.integers(-127, 128, (_INNER, _COLUMNS), dtype=np.int8)
    floats = rng.standard_normal((_ROWS, _INNER), dtype=np.float32)
    float_weights = rng.standard_normal((_INNER, _COLUMNS), dtype=np.float32)
    return {
        "int8_gmacs": _matmul_rate(threads, "MatMulInteger", integers, integer_weights),
        "fp32_gmacs": _matmul_rate(threads, "MatMul", floats, float_weights),
        "read_gbs": _read_rate(threads),
    }


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
    print(json.dumps(_measure_here(int(sys.argv[1]))))
