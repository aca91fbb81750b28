"""Runs graphs of one operator each with wrong shapes, types, attributes and absent inputs.

    python hostile_graphs.py LIBRARY SEED COUNT SECONDS

It ends after COUNT graphs, and not before SECONDS. A graph is computed or refused; anything else ends the process, and
the last line of its output says which graph that was. `test_hostile_graphs.py` runs it with sanitizers.
"""

from __future__ import annotations

import math
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = list[int]

_MOST_ELEMENTS = 1_000_000
_F, _U8, _I8, _I32, _I64 = np.float32, np.uint8, np.int8, np.int32, np.int64
_LINEAR = {"x": _U8, "panels": _I8, "sums": _I32, "scale": _F, "bias": _F}
_COLUMNS = {"columns": _F, "column_weight": _F}
_QUANTIZE = _LINEAR | _COLUMNS | {"shift": _F, "unspread": _F, "channels": _I64}
_ATTENTION = _LINEAR | _COLUMNS | {"key_mask": _I32, "position": _I64}
_NORM = {"x": _F, "gain": _F, "bias": _F}
# Inputs of each operator in order, the number of required ones, and the types of its outputs.
_OPERATORS: dict[str, tuple[dict[str, Any], int, tuple[Any, ...]]] = {
    "Norm": (_NORM, 3, (_F,)),
    "NormQuantizeOutliers": (_NORM | {"channels": _I64}, 3, (_U8, _F)),
    "LinearResidualColumns": (_LINEAR | {"residual": _F} | _COLUMNS, 5, (_F,)),
    "LinearQuantizeColumnsShiftSpreadOutliers": (_QUANTIZE, 5, (_U8, _F)),
    "AttentionColumnsPosition": (_ATTENTION, 5, (_U8,)),
    "AttentionFloat": (_ATTENTION, 5, (_F,)),
    "Attend": ({"query": _F, "keys_values": _F, "key_mask": _I32}, 2, (_F,)),
    "FloatLinear": ({"x": _F, "panels": _F, "bias": _F, "residual": _F}, 3, (_F,)),
    "FloatLinearGelu": ({"x": _F, "panels": np.float16, "bias": _F, "residual": _F}, 3, (_F,)),
    "Normalize": ({"x": _F}, 1, (_F,)),
}
_TYPES = (_F, _U8, _I8, _I32, _I64, np.float16, np.float64)
_ATTRIBUTES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 4, 256, 65536, 2**31, 2**63 - 1, -(2**63)),
    *(0.5, -1.0, 1e-45, 3.4e38, math.nan, math.inf, "text", [1, 2], [0.5]),
)
_ODD_FLOATS = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, 0.0)


@dataclass(frozen=True)
class HostileGraph:
    """One node: its inputs by name, None for one that is absent, its attributes and the names of its outputs."""

    operator: str
    inputs: Mapping[str, Array | None]
    attributes: Mapping[str, Any]
    outputs: Sequence[str]
    constants: Sequence[str]

    def __str__(self) -> str:
        shapes = {name: None if a is None else (str(a.dtype), a.shape) for name, a in self.inputs.items()}
        return f"{self.operator} {shapes} {dict(self.attributes)} {self.outputs} constants {self.constants}"

    def model(self) -> onnx.ModelProto:
        arrays = {name: array for name, array in self.inputs.items() if array is not None}
        names = [name if name in arrays else "" for name in self.inputs]
        node = helper.make_node(self.operator, names, list(self.outputs), domain="clipshelf", **self.attributes)
        types = [*_OPERATORS[self.operator][2], *[_F] * 3]
        feeds = [(name, a.dtype, [None] * a.ndim) for name, a in arrays.items() if name not in self.constants]
        results = [(name, np.dtype(types[i]), None) for i, name in enumerate(self.outputs) if name]
        given, computed = [
            [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(t), shape) for name, t, shape in group]
            for group in (feeds, results)
        ]
        weights = [numpy_helper.from_array(arrays[name], name) for name in self.constants]
        graph = helper.make_graph([node], "hostile", given, computed, weights)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("clipshelf", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


class Maker:
    """Makes graphs of which about a quarter are right."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)

    def graph(self) -> HostileGraph:
        draw = self._random
        operator = draw.choice([*_OPERATORS])
        types, required, results = _OPERATORS[operator]
        wrong = draw.random() < 0.75
        shapes, attributes, below = self._right(operator)
        inputs: dict[str, Array | None] = {}
        for position, (name, dtype) in enumerate(types.items()):
            shape = self._changed(shapes[name]) if wrong and draw.random() < 0.2 else shapes[name]
            kind = draw.choice(_TYPES) if wrong and draw.random() < 0.02 else dtype
            absent = draw.random() < (0.4 if position >= required else 0.04 * wrong)
            inputs[name] = None if absent else self._array(kind, shape, below.get(name))
        if wrong and draw.random() < 0.3:
            attributes[draw.choice(["epsilon", "out_scale", "heads", "causal", "zero", "activation"])] = draw.choice(
                _ATTRIBUTES
            )
        outputs = [f"y{i}" for i in range(draw.choice([len(results), 1, 3]) if wrong else len(results))]
        if wrong and draw.random() < 0.06:
            outputs[draw.randrange(len(outputs))] = ""
        constants = [name for name, array in inputs.items() if array is not None and draw.random() < 0.5]
        return HostileGraph(operator, inputs, attributes, outputs, constants)

    def _right(self, operator: str) -> tuple[dict[str, Shape], dict[str, Any], dict[str, int]]:
        """Shapes that fit each other, attributes that fit them, and what the numbers of an input lie below."""
        draw = self._random
        k, n = draw.choice([1, 4, 5, 64, 66, 130]), draw.choice([1, 3, 63, 64, 65, 130])
        batch, tokens, outliers = draw.choice([1, 2, 3]), draw.choice([1, 2, 17, 97]), draw.choice([0, 1, 3])
        heads, lead = draw.choice([1, 2, 3]), draw.choice([[1], [7], [50], [batch, tokens], [1, 1, 2, 1, 3]])
        attributes: dict[str, Any] = {"out_scale": 0.05, "out_zero": 128, "epsilon": 1e-5, "zero": 131}
        attributes |= {"activation": draw.randrange(4), "heads": heads, "causal": draw.randrange(2)}
        if operator.startswith("Att"):
            n, lead = 3 * heads * draw.choice([1, 8, 16, 33]), [batch, tokens]
        width = k if operator.startswith("Norm") else n
        panels = [-(-n // 64), k, 64] if operator.startswith("Float") else [-(-n // 64), -(-k // 4), 64, 4]
        shapes = {
            "x": [*lead, k],
            "panels": panels,
            "sums": [n],
            "scale": [n],
            "bias": [width],
            "gain": [width],
            "residual": [*lead, n],
            "columns": [*lead, outliers],
            "column_weight": [outliers, n],
            "shift": [n],
            "unspread": [n],
            "channels": [outliers],
            "key_mask": lead,
            "position": draw.choice([[1], [batch], []]),
            "query": [batch, draw.choice([tokens, 1]), n],
            "keys_values": [batch, tokens, 2 * n],
        }
        return shapes, attributes, {"channels": width, "position": tokens}

    def _changed(self, shape: Shape) -> Shape:
        draw = self._random
        at = draw.randrange(len(shape)) if shape else 0
        head, size, tail = shape[:at], shape[at : at + 1], shape[at + 1 :]
        return draw.choice(
            [
                *([*head, *[0] * len(size), *tail], [*head, *tail], [*head, draw.choice([0, 1, 2]), *size, *tail]),
                *(
                    [*head, *[s + draw.choice([1, 64]) for s in size], *tail],
                    [*head, *[s // 2 for s in size], *tail],
                ),
                *([], [math.prod(shape)], shape[::-1], [1] * draw.choice([7, 8, 9, 12]) + shape),
            ]
        )

    def _array(self, dtype: Any, shape: Shape, below: int | None) -> Array:
        draw = self._random
        shape = shape if math.prod(shape) <= _MOST_ELEMENTS else [1]
        if below is not None and dtype is _I64:
            end = draw.choice([below, below, below, below + 1, 2**40])
            return np.asarray(self._numbers.integers(draw.choice([0, 0, 0, -1]), end, shape, _I64))
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            return np.asarray(self._numbers.integers(limits.min, limits.max, shape, dtype, endpoint=True))
        array = np.asarray(self._numbers.standard_normal(shape)).astype(dtype)
        if array.size and draw.random() < 0.2:
            with np.errstate(over="ignore"):
                array.flat[self._numbers.integers(0, array.size, 5)] = self._numbers.choice(_ODD_FLOATS, 5)
        return array


def run(graph: HostileGraph, library: str, threads: int) -> bool:
    """Whether onnxruntime computes a graph; it may refuse it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.register_custom_ops_library(library)
    try:
        session = ort.InferenceSession(graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, {port.name: graph.inputs[port.name] for port in session.get_inputs()})
    except Exception:  # onnxruntime raises a dozen private classes
        return False
    return True


def main(library: str, seed: str, count: str, seconds: str) -> None:
    maker, tried, computed, end = Maker(int(seed)), 0, 0, time.monotonic() + float(seconds)
    while tried < int(count) or time.monotonic() < end:
        graph = maker.graph()
        print(graph, flush=True)
        computed += run(graph, library, threads=1 + tried % 2)
        tried += 1
    if not 0 < computed < tried:
        sys.exit(f"expected graphs that are computed and graphs that are refused, found {computed} of {tried}")


if __name__ == "__main__":
    main(*sys.argv[1:])
