"""How each linear of a tower is computed, and the ONNX nodes that compute it so.

A *site* is a linear by name (`layers.3.fc1`). A plan maps sites to int8 with calibrated constants; sites it does not
name stay in floating point. With x the input rows of a site and W, b its weight and bias:

    x' = (x - shift) / spread          per channel; exact, because W' = spread * W and b' = b + shift @ W
    y  = int8(x') @ int8(W') + x'[outliers] @ W'[outliers] + b'

`spread` is SmoothQuant (Xiao et al. 2023), `shift` with it is Outlier Suppression+ (Wei et al. 2023), the outlier
columns in floating point are LLM.int8() (Dettmers et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from clipshelf.types import FloatArray, Precision
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Linear, Norm
from clipshelf_export.graphs.builder import Graph, float32


@dataclass(frozen=True)
class Int8:
    """Static int8 of one site: x' is stored as uint8 round(x' / scale) + zero; see the module's head for the rest."""

    scale: float
    zero: int
    spread: FloatArray | None = None
    shift: FloatArray | None = None
    outliers: tuple[int, ...] = ()

    def fold_input(self, linear: Linear) -> Linear:
        """W' and b': the same linear for x' instead of x."""
        weight, bias = linear.weight, linear.bias
        if self.shift is not None:
            moved = self.shift @ weight
            bias = moved if bias is None else bias + moved
        if self.spread is not None:
            weight = weight * self.spread[:, None]
        return Linear(weight, bias)

    def fold_norm(self, norm: Norm) -> Norm:
        """The norm that puts out x' instead of x."""
        gain, bias = norm.gain, norm.bias
        if self.shift is not None:
            bias = bias - self.shift
        if self.spread is not None:
            gain, bias = gain / self.spread, bias / self.spread
        return Norm(gain, bias, norm.epsilon)

    def fold_output(self, linear: Linear, first: int) -> Linear:
        """The linear whose outputs from column `first` on are x' instead of x."""
        weight, bias = linear.weight.copy(), linear.bias
        bias = np.zeros(weight.shape[1], np.float32) if bias is None else bias.copy()
        if self.shift is not None:
            bias[first:] -= self.shift
        if self.spread is not None:
            weight[:, first:] /= self.spread
            bias[first:] /= self.spread
        return Linear(weight, bias)


@dataclass(frozen=True)
class Plan:
    """Precision of a graph, and for int8 its sites.

    `rounded` names the weights that are stored as int8 with a scale per output and computed in floating point; `whole`
    stores the weights in floating point as fp32 instead of fp16.
    """

    precision: Precision = "fp32"
    sites: Mapping[str, Int8] = field(default_factory=dict)
    rounded: frozenset[str] = frozenset()
    whole: bool = False

    @property
    def halves(self) -> bool:
        """Whether weights in floating point are stored as fp16."""
        return self.precision != "fp32" and not self.whole


def quantise_weight(weight: FloatArray) -> tuple[np.ndarray[Any, np.dtype[np.int8]], FloatArray]:
    """Symmetric int8 with a scale per output: weight (inputs, outputs) ~ int8 * scale (outputs,).

    Two neighbouring inputs of one sign hold 128 together at most. x86 without VNNI adds their products with uint8 in
    16 bits, which 255 * 128 just fits: sums are exact on every CPU, where plain int8 silently saturates on some.
    """
    even, odd = weight[::2], weight[1::2]
    peak = np.abs(weight).max(0)
    for sign in (1, -1):
        pairs = np.maximum(sign * even[: len(odd)], 0) + np.maximum(sign * odd, 0)
        peak = np.maximum(peak, pairs.max(0, initial=0))
    return _round_to(weight, peak)


def _round_to(weight: FloatArray, peak: FloatArray) -> tuple[np.ndarray[Any, np.dtype[np.int8]], FloatArray]:
    """weight (inputs, outputs) ~ int8 * scale (outputs,), where an output's `peak` becomes 127."""
    scale = float32(np.where(peak > 0, peak / 127, 1))
    return np.round(weight / scale).astype(np.int8), scale


def linear(graph: Graph, name: str, x: str, weights: Linear, plan: Plan, *, site: str = "") -> str:
    """Nodes for rows `x` @ weight + bias, as the plan has it for `site` (default: the scope and `name`).

    Where the plan has a spread or a shift, `x` must be x' already.
    """
    site = site or graph.site(name)
    graph.tap(site, x)
    int8 = plan.sites.get(site)
    if int8 is None:
        return _float_linear(graph, name, x, weights, plan)
    weights = int8.fold_input(weights)
    x8, weight, step, scale, zero, bias = int8_operands(graph, name, x, weights, int8)
    y = graph.op("MatMulIntegerToFloat", x8, weight, step, scale, zero, *(["", bias] if bias else []))
    if int8.outliers:
        rows = np.array(int8.outliers, np.int64)
        columns = graph.op("Gather", x, graph.const(f"{name}.outliers", rows), axis=-1)
        side = graph.op("MatMul", columns, graph.const(f"{name}.outlier_weight", weights.weight[rows]))
        y = graph.op("Add", y, side)
    return str(y)


def int8_operands(graph: Graph, name: str, x: str, folded: Linear, int8: Int8) -> tuple[str, ...]:
    """Names of x' in uint8, W' in int8, the scales of both, the zero point and b' ("" for none), without outliers.

    `folded` is W' and b'.
    """
    weight = folded.weight
    if int8.outliers:
        weight = weight.copy()
        weight[list(int8.outliers)] = 0
    quantised, scale = quantise_weight(weight)
    step = graph.const(f"{name}.input_scale", float32(int8.scale))
    zero = graph.const(f"{name}.input_zero", np.uint8(int8.zero))
    x8 = graph.op("QuantizeLinear", x, step, zero)
    constants = graph.const(f"{name}.weight", quantised), step, graph.const(f"{name}.scale", scale), zero
    bias = "" if folded.bias is None else graph.const(f"{name}.bias", float32(folded.bias))
    return str(x8), *constants, bias


def stored_weight(graph: Graph, name: str, weight: FloatArray, plan: Plan) -> str:
    """A float weight as stored: fp32 or, where the plan halves, fp16; int8 graphs cast it back at session start."""
    if not plan.halves:
        return graph.const(name, weight)
    if graph.site(name) in plan.rounded:
        return _rounded_weight(graph, name, weight)
    half = graph.const(name, weight.astype(np.float16))
    return half if plan.precision == "fp16" else str(graph.op("Cast", half, to=TensorProto.FLOAT))


def _rounded_weight(graph: Graph, name: str, weight: FloatArray) -> str:
    """int8 on disk; a session folds Cast and Mul into float weights at its start (a DequantizeLinear it would keep)."""
    rows = weight.reshape(weight.shape[0], -1).T if weight.ndim == 4 else weight
    quantised, scale = _round_to(rows, np.abs(rows).max(0))
    if weight.ndim == 4:
        quantised, scale = quantised.T.reshape(weight.shape), scale[:, None, None, None]
    whole = graph.op("Cast", graph.const(name, quantised), to=TensorProto.FLOAT)
    return str(graph.op("Mul", whole, graph.const(f"{name}.scale", scale)))


def _float_linear(graph: Graph, name: str, x: str, weights: Linear, plan: Plan) -> str:
    y = graph.op("MatMul", x, stored_weight(graph, f"{name}.weight", weights.weight, plan))
    if weights.bias is None:
        return str(y)
    dtype = np.float16 if plan.precision == "fp16" else np.float32
    return str(graph.op("Add", y, graph.const(f"{name}.bias", weights.bias.astype(dtype))))
