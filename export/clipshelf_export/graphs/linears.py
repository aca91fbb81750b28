"""The ONNX nodes of a linear, in int8 or in floating point as the plan says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Linear
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.graphs.weights import float32, quantise_stored_weight, quantise_weight


class Int8Operands(NamedTuple):
    """Names of the tensors that an int8 kernel takes.

    - `x`: x' rounded to uint8.
    - `weight`: W' rounded to int8, with 0 for the outlier channels.
    - `input_scale`, `weight_scale`: of `x` and of each output of `weight`.
    - `zero_point`: of `x`.
    - `bias`: b', "" for none.
    """

    x: str
    weight: str
    input_scale: str
    weight_scale: str
    zero_point: str
    bias: str


def add_linear(graph: Graph, name: str, x: str, linear: Linear, plan: Plan, *, site: str = "") -> str:
    """Add a linear to the graph.

    - `name`: prefix of its constants.
    - `x`: the tensor of input rows; x' of `graphs.plan` where the plan transforms the inputs of the site.
    - `linear`: its weight and bias as in the checkpoint.
    - `plan`: may hold int8 parameters for `site`.
    - `site`: its name in the plan; by default the scope and `name`.

    Returns the name of the output tensor.
    """
    site = site or graph.site_name(name)
    graph.mark_site(site, x)
    params = plan.sites.get(site)
    if params is None:
        return _add_float_linear(graph, name, x, linear, plan)
    folded = params.fold_input(linear)
    int8 = add_int8_operands(graph, name, x, folded, params)
    bias = ["", int8.bias] if int8.bias else []
    y = graph.op(
        "MatMulIntegerToFloat", int8.x, int8.weight, int8.input_scale, int8.weight_scale, int8.zero_point, *bias
    )
    if not params.outliers:
        return y
    channels = np.array(params.outliers, np.int64)
    columns = graph.op("Gather", x, graph.const(f"{name}.outliers", channels), axis=-1)
    weight = graph.const(f"{name}.outlier_weight", folded.weight[channels])
    return graph.op("Add", y, graph.op("MatMul", columns, weight))


def add_int8_operands(graph: Graph, name: str, x: str, folded: Linear, params: Int8Params) -> Int8Operands:
    """Add the rounding of x', and the constants of an int8 kernel.

    - `name`: prefix of the constants.
    - `x`: the tensor x' in floating point.
    - `folded`: W' and b'.
    - `params`: of the site; its outlier channels are left to the caller.
    """
    weight = folded.weight
    if params.outliers:
        weight = weight.copy()
        weight[list(params.outliers)] = 0
    quantised, scale = quantise_weight(weight)
    input_scale = graph.const(f"{name}.input_scale", float32(params.scale))
    zero_point = graph.const(f"{name}.input_zero", np.uint8(params.zero_point))
    x8 = graph.op("QuantizeLinear", x, input_scale, zero_point)
    weight8 = graph.const(f"{name}.weight", quantised)
    weight_scale = graph.const(f"{name}.scale", scale)
    bias = "" if folded.bias is None else graph.const(f"{name}.bias", float32(folded.bias))
    return Int8Operands(x8, weight8, input_scale, weight_scale, zero_point, bias)


def add_weight(graph: Graph, name: str, weight: FloatArray, plan: Plan) -> str:
    """Add a weight that is computed in floating point, stored as the plan says.

    A session converts fp16 and int8 weights of int8 graphs to fp32 once, when it starts.

    Returns the name of the tensor: fp16 in fp16 graphs, fp32 in others.
    """
    if not plan.fp16_stored:
        return graph.const(name, weight)
    if graph.site_name(name) in plan.int8_stored:
        return _add_int8_stored_weight(graph, name, weight)
    half = graph.const(name, weight.astype(np.float16))
    return half if plan.precision == "fp16" else graph.cast(half, TensorProto.FLOAT)


def _add_int8_stored_weight(graph: Graph, name: str, weight: FloatArray) -> str:
    """Add a weight that is int8 on disk; a session folds Cast and Mul at its start, but not DequantizeLinear."""
    quantised, scale = quantise_stored_weight(weight)
    unscaled = graph.cast(graph.const(name, quantised), TensorProto.FLOAT)
    return graph.op("Mul", unscaled, graph.const(f"{name}.scale", scale))


def _add_float_linear(graph: Graph, name: str, x: str, linear: Linear, plan: Plan) -> str:
    y = graph.op("MatMul", x, add_weight(graph, f"{name}.weight", linear.weight, plan))
    if linear.bias is None:
        return y
    dtype = np.float16 if plan.precision == "fp16" else np.float32
    return graph.op("Add", y, graph.const(f"{name}.bias", linear.bias.astype(dtype)))
