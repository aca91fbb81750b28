"""A graph against the machine's peaks: its multiply-adds and weights, and the time that the peaks allow for them.

onnxruntime's profiler gives the input shapes of every kernel, so the count holds for any graph, whoever made it.
The model is the roofline of Williams, Waterman and Patterson (2009): a call takes at least the time of its arithmetic
at the peak rate, and at least the time of reading its weights at the peak bandwidth.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_MATMULS = {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "QLinearMatMul", "QGemm"} | {
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
}
_ATTENTION = {"MultiHeadAttention", "Attention"}
# Computes queries, keys and values as well as attention; all of it is counted as int8.
_PROJECTED_ATTENTION = "QAttention"
_CONVOLUTIONS = {"Conv", "FusedConv", "ConvInteger", "QLinearConv"}
_RUNS = 20

Shape: TypeAlias = list[int]


@dataclass(frozen=True)
class Work:
    """What one call computes and reads.

    - `int8_macs`, `fp32_macs`: multiply-adds.
    - `weight_bytes`: bytes of constant weights.
    - `operator_ms`: milliseconds by type of operator.
    """

    int8_macs: float
    fp32_macs: float
    weight_bytes: int
    operator_ms: Mapping[str, float]

    def bound_ms(self, peaks: Mapping[str, float]) -> tuple[float, float]:
        """Least milliseconds by arithmetic, and by reading the weights; a call takes at least the larger.

        - `peaks`: what `measure_peaks` returns.
        """
        compute = self.int8_macs / peaks["int8_gmacs"] + self.fp32_macs / peaks["fp32_gmacs"]
        return compute / 1e6, self.weight_bytes / peaks["read_gbs"] / 1e6


def count_work(graph: Path, feeds: Mapping[str, npt.NDArray[Any]], threads: int) -> Work:
    """Profile a graph and add up what its kernels did.

    The work is counted on onnxruntime's operators, which the graph's functions use, and the milliseconds are those of
    the native kernels where they run.

    - `graph`: an ONNX file.
    - `feeds`: its inputs by name.
    - `threads`: threads of onnxruntime.
    """
    from clipshelf.runtime.providers import CPU
    from clipshelf.runtime.session import usable_kernels

    work = _sum_kernels(_profile(graph, feeds, threads, None))
    kernels = usable_kernels(graph, CPU)
    if kernels is None:
        return work
    return replace(work, operator_ms=_sum_kernels(_profile(graph, feeds, threads, kernels.path)).operator_ms)


def _profile(
    graph: Path, feeds: Mapping[str, npt.NDArray[Any]], threads: int, library: Path | None
) -> list[dict[str, Any]]:
    """The events of the kernels of `_RUNS` runs, with a library of native kernels or without."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        if library is not None:
            options.register_custom_ops_library(str(library))
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        for _ in range(_RUNS):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]


def _sum_kernels(kernels: list[dict[str, Any]]) -> Work:
    """Work of one run, from the events of `_RUNS` runs."""
    int8_macs = fp32_macs = weight_bytes = 0.0
    milliseconds: dict[str, float] = defaultdict(float)
    for kernel in kernels:
        operator, inputs, output = _shapes(kernel["args"])
        milliseconds[operator] += kernel["dur"] / 1e3 / _RUNS
        macs = count_macs(operator, inputs, output) / _RUNS
        weights = count_weights(operator, inputs, output) / _RUNS
        if "Integer" in operator or "Quantize" in operator or operator.startswith("Q"):
            int8_macs += macs
            weight_bytes += weights
        else:
            fp32_macs += macs
            weight_bytes += 4 * weights
    return Work(int8_macs, fp32_macs, int(weight_bytes), dict(milliseconds))


def _shapes(args: Mapping[str, Any]) -> tuple[str, list[Shape], Shape]:
    """Operator, shapes of the inputs, and shape of the first output."""
    inputs, outputs = (
        [next(iter(port.values())) for port in args[side]] for side in ("input_type_shape", "output_type_shape")
    )
    return args["op_name"], inputs, outputs[0] if outputs else []


def count_macs(operator: str, inputs: list[Shape], output: Shape) -> float:
    """Multiply-adds of one kernel; 0 for an operator that multiplies no matrices.

    Weights that onnxruntime packed beforehand are missing from `inputs`, so the last size of `output` stands for them.
    """
    if operator in _MATMULS:
        return float(np.prod(inputs[0], dtype=float) * output[-1])
    if operator in _ATTENTION and len(inputs) >= 2 and len(inputs[0]) == len(inputs[1]) == 3:
        batch, queries, width = inputs[0]
        return 2.0 * batch * queries * inputs[1][1] * width
    if operator == _PROJECTED_ATTENTION:
        batch, tokens, width = output
        return float(batch * tokens * width * (3 * inputs[0][-1] + 2 * tokens))
    if operator in _CONVOLUTIONS:
        return float(np.prod(output, dtype=float) * _macs_per_output(inputs))
    return 0.0


def count_weights(operator: str, inputs: list[Shape], output: Shape) -> float:
    """Constant weights that one kernel reads; 0 for a product of two activations."""
    if operator in _MATMULS:
        between_activations = len(inputs) > 1 and len(inputs[1]) > 2
        return 0.0 if between_activations else float(inputs[0][-1] * output[-1])
    if operator == _PROJECTED_ATTENTION:
        return 3.0 * inputs[0][-1] * output[-1]
    if operator in _CONVOLUTIONS:
        return float(output[1] * _macs_per_output(inputs))
    return 0.0


def _macs_per_output(inputs: list[Shape]) -> float:
    """Multiply-adds for each number of a convolution's output."""
    kernels = [shape for shape in inputs[1:] if len(shape) == 4]
    return float(np.prod(kernels[0][1:])) if kernels else 0.0
