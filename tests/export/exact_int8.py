"""The exact result of an int8 graph: every operator of the native kernels in float64, from its definition.

Only the roundings to uint8 that the graph asks for are done. What a graph of random weights loses by them is no fault
of the kernels; a difference between the kernels and this is. docs/kernels.md lists the operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from clipshelf_export.graphs.functions import DOMAIN, INPUTS
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

_ERF = np.vectorize(math.erf)
_ACTIVATIONS: tuple[Callable[[Any], Any], ...] = (
    lambda x: x,
    lambda x: x / (1 + np.exp(-x)),
    lambda x: x * (1 + _ERF(x / math.sqrt(2))) / 2,
    lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
)


def run_exactly(path: Path, feeds: Mapping[str, Any]) -> Any:
    """Return the embeddings, float64 (B, D), of a graph in a file."""
    model = onnx.load(path)
    del model.functions[:]
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.DOUBLE
    kinds = sorted({node.op_type for node in model.graph.node if node.domain == DOMAIN})
    operators = [*map(_kernel, kinds), *(_standard(name, compute) for name, compute in _STANDARD.items())]
    results: Any = ReferenceEvaluator(model, new_ops=operators).run(None, dict(feeds))
    return results[0]


def _kernel(name: str) -> type[OpRun]:
    """An operator of the kernels, with the optional inputs in its name."""
    kind = max((kind for kind in INPUTS if name.startswith(kind)), key=len)

    def _run(self: OpRun, *inputs: Any, **_: Any) -> tuple[Any, ...]:
        given = dict(zip(INPUTS[kind], map(_double, inputs), strict=False))
        given |= {one.name: onnx.helper.get_attribute_value(one) for one in self.onnx_node.attribute}
        y = _COMPUTE[kind](given)
        rounded = _round(y, given["out_scale"], given["out_zero"]) if "out_scale" in given else y
        return (rounded, y[..., given["channels"]]) if len(self.onnx_node.output) > 1 else (rounded,)

    return type(name, (OpRun,), {"op_domain": DOMAIN, "_run": _run})


def _standard(name: str, compute: Callable[..., Any]) -> type[OpRun]:
    """An operator of ONNX that may join float32 and float64."""

    def _run(self: OpRun, *inputs: Any, **_: Any) -> tuple[Any]:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in self.onnx_node.attribute}
        return (np.asarray(compute(*map(_double, inputs), **attributes)),)

    return type(name, (OpRun,), {"op_domain": "", "_run": _run})


def _double(x: Any) -> Any:
    return x.astype(np.float64) if x is not None and x.dtype in (np.float16, np.float32) else x


def _round(x: Any, scale: Any, zero: Any) -> Any:
    return np.clip(np.rint(x / np.float32(scale)) + int(np.ravel(zero)[0]), 0, 255).astype(np.uint8)


def _norm(given: dict[str, Any]) -> Any:
    centred = given["x"] - given["x"].mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + given["epsilon"])
    return centred / deviation * given["gain"] + given["bias"]


def _linear(given: dict[str, Any]) -> Any:
    panels, (inputs, outputs) = given["panels"], given["weight_shape"]
    weight = panels.transpose(1, 3, 0, 2).reshape(4 * panels.shape[1], -1)[:inputs, :outputs].astype(np.int64)
    sums = (given["x"].astype(np.int64) - given["zero"]) @ weight
    y = sums * given["scale"] + given["bias"]
    return y if given.get("columns") is None else y + given["columns"] @ given["column_weight"]


def _finish(y: Any, given: dict[str, Any]) -> Any:
    """The activation of a linear, and what is added or folded in after it."""
    y = _ACTIVATIONS[given.get("activation", 0)](y)
    y = y if given.get("shift") is None else y - given["shift"]
    y = y if given.get("unspread") is None else y * given["unspread"]
    return y if given.get("residual") is None else y + given["residual"]


def _float_linear(given: dict[str, Any]) -> Any:
    panels, (inputs, outputs) = given["panels"], given["weight_shape"]
    weight = panels.transpose(1, 0, 2).reshape(inputs, -1)[:, :outputs]
    return _finish(given["x"] @ weight + given["bias"], given)


def _attention(given: dict[str, Any]) -> Any:
    query, keys, values = np.split(_linear(given), 3, -1)
    position = given.get("position")
    if position is None:
        return _attend(query, keys, values, given, np.arange(query.shape[1])[None])
    tokens = np.broadcast_to(np.ravel(position), len(query))
    return _attend(query[np.arange(len(query)), tokens][:, None], keys, values, given, tokens[:, None])


def _attend(query: Any, keys: Any, values: Any, given: dict[str, Any], tokens: Any) -> Any:
    """The attention of queries (B, Q, C), of which query q of a sequence is token (B or 1, Q)."""
    batch, length, width = keys.shape
    q, k, v = (
        x.reshape(batch, -1, given["heads"], width // given["heads"]).swapaxes(1, 2) for x in (query, keys, values)
    )
    seen = np.arange(length) <= tokens[..., None] if given["causal"] else np.ones((1, 1, length), bool)
    seen = seen[:, None] if given.get("key_mask") is None else seen[:, None] & (given["key_mask"] != 0)[:, None, None]
    scores = np.where(seen, q @ k.swapaxes(2, 3) / math.sqrt(k.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(batch, -1, width)


def _attend_alone(given: dict[str, Any]) -> Any:
    keys, values = np.split(given["keys_values"], 2, -1)
    return _attend(given["query"], keys, values, given, np.arange(given["query"].shape[1])[None])


_COMPUTE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Norm": _norm,
    "NormQuantize": _norm,
    "Linear": lambda given: _finish(_linear(given), given),
    "LinearQuantize": lambda given: _finish(_linear(given), given),
    "Attention": _attention,
    "AttentionFloat": _attention,
    "FloatLinear": _float_linear,
    "Attend": _attend_alone,
    "Normalize": lambda given: given["x"] / np.linalg.norm(given["x"], axis=-1, keepdims=True),
}
_STANDARD: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "CumSum": lambda x, axis: np.cumsum(x, int(np.ravel(axis)[0])),
    "QuantizeLinear": _round,
}
