"""The int8 product of the native kernels against onnxruntime's, shape by shape.

`python -m clipshelf_bench.parts.kernels` prints the table. Both run in onnxruntime, on the same number of threads.
They take turns, and only one session is open at a time: idle threads of another would wait awake and disturb it.
A graph has several copies of the weights, so that they come from memory as in a model. CLIPSHELF_KERNELS chooses the
instruction set.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from clipshelf.errors import ClipshelfError
from clipshelf.runtime.cpus import available_cpus
from clipshelf.runtime.native import Kernels, load_kernels
from clipshelf.runtime.session import session_options

from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.machine.peaks import measure_peaks

Array: TypeAlias = npt.NDArray[Any]

# Rows, inputs and outputs: a picture, 8 pictures, a sentence and 32 sentences through the linears of a ViT-B/32's
# layer, and a product so large that nothing but arithmetic counts.
SHAPES = [
    *((rows, inputs, outputs) for rows in (50, 400) for inputs, outputs in ((768, 2304), (768, 768), (768, 3072))),
    *((rows, 3072, 768) for rows in (50, 400)),
    *((rows, inputs, outputs) for rows in (12, 384) for inputs, outputs in ((512, 1536), (512, 2048), (2048, 512))),
    (1024, 3072, 3072),
]
_COPIED_BYTES = 64 << 20  # more than the caches of a core hold
_ROUNDS = 3
_SECONDS = 0.2


class Rates(NamedTuple):
    """1e9 multiply-adds per second of both products, and 1e9 bytes per second that ours reads of the weights."""

    ours: float
    onnxruntime: float
    read: float


def main() -> None:
    """Print a table of `SHAPES`."""
    kernels = load_kernels()
    if kernels is None:
        raise ClipshelfError("expected the native kernels, found none that run")
    threads = available_cpus()
    peaks = measure_peaks(threads, cache_folder())
    print(f"{kernels.instruction_set}, {threads} threads; memory is read at {peaks['read_gbs']:.0f} GB/s\n")
    print(
        "| rows x inputs x outputs | GMAC/s | onnxruntime's | ratio of times | weights, GB/s |\n|---|---|---|---|---|"
    )
    for shape in SHAPES:
        rates = measure(kernels, threads, *shape)
        ratio = rates.onnxruntime / rates.ours
        name = " x ".join(map(str, shape))
        print(f"| {name} | {rates.ours:.0f} | {rates.onnxruntime:.0f} | {ratio:.2f} | {rates.read:.1f} |", flush=True)


def measure(kernels: Kernels, threads: int, rows: int, inputs: int, outputs: int) -> Rates:
    """Time the product of both for a shape, in turns, by the median of the calls."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (rows, inputs), dtype=np.uint8)
    weight = rng.integers(-64, 65, (inputs, outputs), dtype=np.int8)
    copies = max(1, _COPIED_BYTES // weight.nbytes)
    contenders = [(_our_model(weight, copies), kernels), (_their_model(weight, copies), None)]
    times: list[list[float]] = [[], []]
    for _ in range(_ROUNDS):
        for total, (model, library) in zip(times, contenders, strict=True):
            total.extend(_time(model, x, threads, library))
    ours, theirs = map(statistics.median, times)
    macs = rows * inputs * outputs * copies
    return Rates(macs / ours / 1e9, macs / theirs / 1e9, weight.nbytes * copies / ours / 1e9)


def _our_model(weight: Array, copies: int) -> bytes:
    """A Linear for each copy of the weight."""
    inputs, outputs = weight.shape
    panels = weight.reshape(inputs // 4, 4, outputs // 64, 64).transpose(2, 0, 3, 1)
    shared = {"sums": weight.sum(0, dtype=np.int32), **_scale_and_bias(outputs)}
    nodes = [("Linear", "clipshelf", ["x", f"w{i}", "sums", "scale", "bias"], {"zero": 128}) for i in range(copies)]
    return _model(nodes, panels, shared)


def _their_model(weight: Array, copies: int) -> bytes:
    """A MatMulIntegerToFloat for each copy of the weight."""
    shared: dict[str, Any] = {"one": np.float32(1), "zero": np.uint8(128), **_scale_and_bias(weight.shape[1])}
    operands = [["x", f"w{i}", "one", "scale", "zero", "", "bias"] for i in range(copies)]
    return _model([("MatMulIntegerToFloat", "com.microsoft", names, {}) for names in operands], weight, shared)


def _scale_and_bias(outputs: int) -> dict[str, Array]:
    return {"scale": np.full(outputs, 1e-4, np.float32), "bias": np.zeros(outputs, np.float32)}


def _model(
    nodes: Sequence[tuple[str, str, list[str], dict[str, Any]]], weight: Array, shared: Mapping[str, Any]
) -> bytes:
    """A model whose outputs are those of the nodes, so that none is left out. w0, w1 and so on hold `weight`."""
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(np.ascontiguousarray(weight), f"w{i}") for i in range(len(nodes))]
    constants += [numpy_helper.from_array(np.asarray(array), name) for name, array in shared.items()]
    graph = helper.make_graph(
        [
            helper.make_node(operator, names, [f"y{i}"], domain=domain, **attributes)
            for i, (operator, domain, names, attributes) in enumerate(nodes)
        ],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, None])],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [None, None]) for i in range(len(nodes))],
        constants,
    )
    opsets = [helper.make_opsetid(*opset) for opset in (("", 18), ("com.microsoft", 1), ("clipshelf", 1))]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


def _time(model: bytes, x: Array, threads: int, kernels: Kernels | None) -> list[float]:
    """Seconds of the calls of a model within `_SECONDS`."""
    import onnxruntime as ort

    options = session_options(threads)
    if kernels is not None:
        options.register_custom_ops_library(str(kernels.path))
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": x})
    seconds, end = [], time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {"x": x})
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
