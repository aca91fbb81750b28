"""A tower against the machine's limit: its multiply-adds and weights, and the time that the peaks allow for them.

onnxruntime's profiler gives every kernel's input shapes, so the count holds for any graph, ours or not, and shows the
time by operator too.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_PRODUCTS = {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "QLinearMatMul", "QGemm"} | {
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
}
_ATTENTION = {"MultiHeadAttention", "Attention"}
_PROJECTED_ATTENTION = "QAttention"  # queries, keys and values too; all of it is counted as int8
_CONVOLUTIONS = {"Conv", "FusedConv", "ConvInteger", "QLinearConv"}
_SIDES = ("input_type_shape", "output_type_shape")
_RUNS = 20

Shape: TypeAlias = list[int]


@dataclass(frozen=True)
class Work:
    """Of one call: multiply-adds in int8 and in fp32, bytes of weights read, milliseconds per operator type."""

    int8_macs: float
    fp32_macs: float
    weight_bytes: int
    operator_ms: Mapping[str, float]

    def bound_ms(self, peaks: Mapping[str, float]) -> tuple[float, float]:
        """Least time by arithmetic and least time by memory bandwidth; a call can be no faster than either."""
        compute = self.int8_macs / peaks["int8_gmacs"] + self.fp32_macs / peaks["fp32_gmacs"]
        return compute / 1e6, self.weight_bytes / peaks["read_gbs"] / 1e6


def count_work(graph: Path, feeds: Mapping[str, npt.NDArray[Any]], threads: int) -> Work:
    """Profile a graph on some inputs and add up what its kernels did."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        for _ in range(_RUNS):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    kernels = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return _add_up(kernels)


def _add_up(kernels: list[dict[str, Any]]) -> Work:
    macs: dict[bool, float] = {True: 0.0, False: 0.0}
    times: dict[str, float] = defaultdict(float)
    weight_bytes = 0.0
    for kernel in kernels:
        kind, inputs, output = _described(kernel["args"])
        times[kind] += kernel["dur"] / 1e3 / _RUNS
        eight = "Integer" in kind or "Quantize" in kind or kind.startswith("Q")
        macs[eight] += macs_of(kind, inputs, output) / _RUNS
        weight_bytes += weights_of(kind, inputs, output) * (1 if eight else 4) / _RUNS
    return Work(macs[True], macs[False], int(weight_bytes), dict(times))


def _described(args: Mapping[str, Any]) -> tuple[str, list[Shape], Shape]:
    """Operator, shapes of the inputs and shape of the first output."""
    inputs, outputs = ([next(iter(port.values())) for port in args[side]] for side in _SIDES)
    return args["op_name"], inputs, outputs[0] if outputs else []


def macs_of(kind: str, inputs: list[Shape], output: Shape) -> float:
    """Multiply-adds of one kernel; 0 for what is no product of matrices.

    Weights that onnxruntime packed beforehand are missing from `inputs`; the output's last size stands for them.
    """
    if kind in _PRODUCTS:
        return float(np.prod(inputs[0], dtype=float) * output[-1])
    if kind in _ATTENTION and len(inputs) >= 2 and len(inputs[0]) == len(inputs[1]) == 3:
        batch, queries, width = inputs[0]
        return 2.0 * batch * queries * inputs[1][1] * width
    if kind == _PROJECTED_ATTENTION:
        batch, tokens, width = output
        return float(batch * tokens * width * (3 * inputs[0][-1] + 2 * tokens))
    if kind in _CONVOLUTIONS:
        return float(np.prod(output, dtype=float) * _kernel_size(inputs))
    return 0.0


def weights_of(kind: str, inputs: list[Shape], output: Shape) -> float:
    """Numbers of constant weights that one kernel reads; a product of two activations has none."""
    if kind in _PRODUCTS:
        between_activations = len(inputs) > 1 and len(inputs[1]) > 2
        return 0.0 if between_activations else float(inputs[0][-1] * output[-1])
    if kind == _PROJECTED_ATTENTION:
        return 3.0 * inputs[0][-1] * output[-1]
    if kind in _CONVOLUTIONS:
        return float(output[1] * _kernel_size(inputs))
    return 0.0


def _kernel_size(inputs: list[Shape]) -> float:
    """Multiply-adds per output number of a convolution."""
    kernels = [shape for shape in inputs[1:] if len(shape) == 4]
    return float(np.prod(kernels[0][1:])) if kernels else 0.0
