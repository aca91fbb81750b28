"""The constants of linears of the native kernels: weights in panels, scales and biases."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipshelf_export.checkpoints.towers import Linear
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.panels import pack_float, pack_int8
from clipshelf_export.graphs.plan import Int8Params
from clipshelf_export.graphs.weights import float32, quantise_weight


def add_int8_operands(
    graph: Graph, name: str, folded: Linear, params: Int8Params
) -> tuple[dict[str, str], dict[str, Any]]:
    """Add the constants of an int8 linear.

    - `name`: their prefix.
    - `folded`: W' and b' of `graphs.plan`.
    - `params`: of the site.

    Returns the inputs by their names in the operators, without the rows, and the attributes.
    """
    weight, outliers = folded.weight, list(params.outliers)
    if outliers:
        weight = weight.copy()
        weight[outliers] = 0
    quantised, scale = quantise_weight(weight)
    bias = np.zeros(weight.shape[1], np.float32) if folded.bias is None else folded.bias
    inputs = {
        "panels": graph.const(f"{name}.weight", pack_int8(quantised)),
        "sums": graph.const(f"{name}.sums", quantised.sum(0, dtype=np.int32)),
        "scale": graph.const(f"{name}.scale", float32(params.scale) * scale),
        "bias": graph.const(f"{name}.bias", float32(bias)),
    }
    if outliers:
        inputs["column_weight"] = graph.const(f"{name}.outlier_weight", float32(folded.weight[outliers]))
    return inputs, {"zero": params.zero_point, "weight_shape": quantised.shape}


def add_float_operands(
    graph: Graph, name: str, linear: Linear, dtype: type[np.floating[Any]]
) -> tuple[dict[str, str], dict[str, Any]]:
    """Add the constants of a linear in floating point, with its weight stored as `dtype`; returns as above."""
    weight = linear.weight.astype(dtype)
    bias = np.zeros(weight.shape[1], np.float32) if linear.bias is None else linear.bias
    inputs = {
        "panels": graph.const(f"{name}.weight", pack_float(weight)),
        "bias": graph.const(f"{name}.bias", float32(bias)),
    }
    return inputs, {"weight_shape": weight.shape}
