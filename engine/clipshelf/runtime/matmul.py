"""Products with one fixed matrix, run by onnxruntime on the CPU.

Their threads go to sleep soon after a run. NumPy's OpenBLAS shares a large product between threads that then wait awake
(docs/design-notes/runtime.md), on cores that the towers need.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from clipshelf.calls import calls
from clipshelf.runtime import onnx_graphs
from clipshelf.runtime.providers import CPU
from clipshelf.runtime.quiet_import import ort
from clipshelf.runtime.session import open_session, session_options
from clipshelf.types import FloatArray


class FloatMatMul:
    """Multiplies float32 rows by a fixed float32 matrix. Several threads may call it at once.

    - `weights`: (D, n) float32, C-contiguous; taken over without a copy, so it must not change.
    - `threads`: threads of one product.
    """

    def __init__(self, weights: FloatArray, *, threads: int) -> None:
        dim, columns = weights.shape
        self._session = _open(onnx_graphs.float_matmul(dim, columns), {"weights": weights}, threads)

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """`inputs @ weights`, (M, n) float32, for `inputs` (M, D) float32."""
        return _run(self._session, inputs)


class Int8MatMul:
    """Multiplies uint8 rows by a fixed int8 matrix and scales each column. Several threads may call it at once.

    onnxruntime packs the weights for this CPU, keeps the packed form and drops the array: they are in memory once.

    - `weights`: (D, n) int8, C-contiguous; taken over without a copy, so it must not change.
    - `scales`: (n,) float32, the factor of each column.
    - `zero`: the input, 0 to 255, that stands for zero.
    - `threads`: threads of one product.
    """

    def __init__(self, weights: npt.NDArray[np.int8], scales: FloatArray, *, zero: int, threads: int) -> None:
        dim, columns = weights.shape
        graph = onnx_graphs.int8_matmul(dim, columns, zero)
        self._session = _open(graph, {"weights": weights, "scales": scales}, threads)

    def __call__(self, inputs: npt.NDArray[np.uint8]) -> FloatArray:
        """`(inputs - zero) @ weights * scales`, (M, n) float32, for `inputs` (M, D) uint8.

        The sums are exact integers; each value is rounded twice: to float32, then in its product with the scale.
        """
        return _run(self._session, inputs)


def _open(graph: bytes, constants: Mapping[str, npt.NDArray[np.generic]], threads: int) -> ort.InferenceSession:
    """Open a graph of `onnx_graphs` on the CPU, with its constants taken over without a copy."""
    options = session_options(threads)
    options.enable_cpu_mem_arena = False  # an arena rounds every buffer up, and keeps it
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in constants.values()]
    options.add_external_initializers([*constants], values)
    return open_session(graph, options, CPU)


def _run(session: ort.InferenceSession, inputs: npt.NDArray[np.generic]) -> FloatArray:
    with calls:
        result: FloatArray = session.run(["values"], {"inputs": inputs})[0]
        return result
