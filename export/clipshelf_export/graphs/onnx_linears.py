"""The linears and the tables of tokens in a ready ONNX graph: the sites of a plan (`graphs.plan`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from clipshelf_export.checkpoints.towers import Linear, OnnxTower

# A matrix from whose rows a Gather takes some is a table of tokens from this many rows on.
TABLE_ROWS = 256
# Constants of fewer numbers are stored as they are.
STORED_AT_LEAST = 256


@dataclass(frozen=True)
class OnnxLinear:
    """A linear of a ready graph, or several that share their input and are computed as one.

    - `site`: its name in a plan.
    - `x`: the tensor of its input rows.
    - `linear`: its weight and bias, of all outputs one after another.
    - `outputs`: the tensors that it makes, each a part of the outputs.
    - `sizes`: of these parts.
    - `after_norm`: whether a layer normalisation makes `x` for it alone, into which a smoothing and a shift fold.
    """

    site: str
    x: str
    linear: Linear
    outputs: tuple[str, ...]
    sizes: tuple[int, ...]
    after_norm: bool


def find_linears(tower: OnnxTower) -> list[OnnxLinear]:
    """Return the linears of a tower in order; those without a bias that share their input are one."""
    groups: dict[tuple[str, str], list[tuple[str, Linear]]] = {}
    for node in tower.nodes:
        linear = _linear_of(node, tower)
        if linear is not None:
            alone = "" if linear.bias is None else node.output[0]
            groups.setdefault((node.input[0], alone), []).append((node.output[0], linear))
    norms = {node.output[0] for node in tower.nodes if _is_norm(node, tower)}
    readers = Counter(name for node in tower.nodes for name in (*node.input, *captured_names(node)))
    return [
        OnnxLinear(
            f"linears.{index}",
            x,
            linears[0][1] if len(linears) == 1 else Linear(np.concatenate([linear.weight for _, linear in linears], 1)),
            tuple(output for output, _ in linears),
            tuple(linear.weight.shape[1] for _, linear in linears),
            x in norms and readers[x] == len(linears),
        )
        for index, ((x, _), linears) in enumerate(groups.items())
    ]


def find_tables(tower: OnnxTower) -> dict[str, str]:
    """Return the sites of tables of tokens by the names of their constants."""
    names = dict.fromkeys(node.input[0] for node in tower.nodes if reads_table(node, tower))
    return {name: f"tables.{index}" for index, name in enumerate(names)}


def reads_table(node: Any, tower: OnnxTower) -> bool:
    """Tell whether a node takes rows of a table of tokens."""
    if node.op_type != "Gather" or any(attribute.i for attribute in node.attribute if attribute.name == "axis"):
        return False
    table = tower.constants.get(node.input[0])
    return table is not None and table.ndim == 2 and table.dtype == np.float32 and len(table) >= TABLE_ROWS


def captured_names(node: Any) -> Iterator[str]:
    """Yield the names that the nodes in the subgraphs of a node read."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from inner.input
                yield from captured_names(inner)


def _linear_of(node: Any, tower: OnnxTower) -> Linear | None:
    """Return the linear that a node is; None for a node that is none."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[0] in tower.constants:
        return None
    weight = tower.constants.get(node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or weight.size < STORED_AT_LEAST:
        return None
    if node.op_type == "MatMul":
        return Linear(weight)
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if attributes.pop("transB", 0):
        weight = np.ascontiguousarray(weight.T)
    bias = tower.constants.get(node.input[2]) if len(node.input) > 2 else None
    plain = all(value == (0 if name == "transA" else 1.0) for name, value in attributes.items())
    if not plain or (len(node.input) > 2 and (bias is None or bias.shape != (weight.shape[1],))):
        return None
    return Linear(weight, bias)


def _is_norm(node: Any, tower: OnnxTower) -> bool:
    """Tell whether a node is a layer normalisation of the last axis with constant gain and bias, and one output."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
    parameters = [tower.constants.get(name) for name in node.input[1:]]
    plain = all(value is not None and value.ndim == 1 for value in parameters)
    return node.op_type == "LayerNormalization" and axis == -1 and plain and sum(map(bool, node.output)) == 1
