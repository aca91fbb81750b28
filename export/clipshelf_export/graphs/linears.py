"""The ONNX nodes of a linear, in int8 or in floating point as the plan says."""

from __future__ import annotations

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Linear
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.functions import Style
from clipshelf_export.graphs.kernel_linears import add_int8_operands
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.graphs.weights import float32, quantise_stored_weight


def add_linear(graph: Graph, name: str, x: str, linear: Linear, plan: Plan, *, site: str = "") -> str:
    """Add a linear to the graph.

    - `name`: prefix of its constants.
    - `x`: the tensor of input rows; x' of `graphs.plan` where the plan transforms the inputs of the site.
    - `linear`: its weight and bias as in the checkpoint.
    - `plan`: may hold int8 parameters for `site`, else says how the weight is stored.
    - `site`: its name in the plan; by default the scope and `name`.

    Returns the name of the output tensor.
    """
    site = site or graph.site_name(name)
    graph.mark_site(site, x)
    if site in plan.sites:
        return _add_int8_linear(graph, name, x, linear, plan.sites[site])
    y = graph.op("MatMul", x, add_weight(graph, f"{name}.weight", linear.weight, plan))
    if linear.bias is None:
        return y
    dtype = np.float16 if plan.precision == "fp16" else np.float32
    return graph.op("Add", y, graph.const(f"{name}.bias", linear.bias.astype(dtype)))


def _add_int8_linear(graph: Graph, name: str, x: str, linear: Linear, params: Int8Params) -> str:
    inputs, attributes = add_int8_operands(graph, name, params.fold_input(linear), params)
    if params.outliers:
        channels = graph.const(f"{name}.outliers", np.array(params.outliers, np.int64))
        inputs["columns"] = graph.op("Gather", x, channels, axis=-1)
    scale = graph.const(f"{name}.input_scale", float32(params.scale))
    zero_point = graph.const(f"{name}.input_zero", np.uint8(params.zero_point))
    inputs["x"] = graph.op("QuantizeLinear", x, scale, zero_point)
    suffixes = ["Columns"] if params.outliers else []
    return graph.kernel_op("Linear", Style(), inputs, suffixes=suffixes, **attributes)[0]


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
