"""Read an ONNX graph that another exporter wrote: its nodes, its constants, its inputs and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from clipshelf.errors import ExportError
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnx.inliner import inline_local_functions

from clipshelf_export.checkpoints.messages import first_line

# The least opset of the nodes that a contract adds; older graphs are converted.
LEAST_OPSET = 18
# Put before every name of the graph, so that none is that of a node of the contract.
PREFIX = "net/"


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph.

    - `name`: without the prefix of the graph's names.
    - `dtype`: a data type of `onnx.TensorProto`.
    - `shape`: a size per axis, None for any.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """A graph in which all names have `PREFIX`, and constants are arrays.

    - `nodes`: in order, without those that only make constants.
    - `constants`: arrays by name.
    - `inputs`, `outputs`: in order.
    - `opset`: of the standard operators.
    """

    nodes: Sequence[Any]
    constants: Mapping[str, np.ndarray[Any, Any]]
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    opset: int


def read_onnx(path: Path) -> OnnxGraph:
    """Read a graph and the weights beside it. Raises ExportError where it is damaged, or too old to be converted."""
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf and onnx raise errors of their own
        raise ExportError(f"{path}: expected an ONNX graph, found: {first_line(error)}") from error
    return parse_onnx(model, str(path))


def parse_onnx(model: Any, source: str) -> OnnxGraph:
    """Turn a model with all weights in memory into an `OnnxGraph`; `source` names it in messages."""
    if model.functions:
        model = inline_local_functions(model)
    opset = _opset(model)
    if opset < LEAST_OPSET:
        model = _convert(model, source)
        opset = LEAST_OPSET
    graph = model.graph
    constants = {PREFIX + tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    known = {tensor.name for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        _add_prefix(node)
        folded = _fold(node, constants)
        if folded is None:
            nodes.append(node)
        else:
            constants[node.output[0]] = folded
    inputs = [_port(value) for value in graph.input if value.name not in known]
    return OnnxGraph(nodes, constants, inputs, [_port(value) for value in graph.output], opset)


def _opset(model: Any) -> int:
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _convert(model: Any, source: str) -> Any:
    try:
        return version_converter.convert_version(model, LEAST_OPSET)
    except Exception as error:  # the converter raises RuntimeError and more
        raise ExportError(
            f"{source}: expected opset {LEAST_OPSET} or one that onnx converts to it, found {_opset(model)}: "
            f"{first_line(error)}"
        ) from error


def _port(value: Any) -> Port:
    tensor = value.type.tensor_type
    shape = tuple(int(axis.dim_value) if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
    return Port(value.name, int(tensor.elem_type), shape)


def _add_prefix(node: Any) -> None:
    """Put the prefix before all names of a node, in its subgraphs too."""
    for names in (node.input, node.output):
        names[:] = [PREFIX + name if name else "" for name in names]
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
                value.name = PREFIX + value.name
            for inner in graph.node:
                _add_prefix(inner)


def _fold(node: Any, constants: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any] | None:
    """Return what a node makes of constants; None for other nodes, and for operators that make no weights."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Constant" and isinstance(attributes.get("value"), TensorProto):
        return np.asarray(numpy_helper.to_array(attributes["value"]))
    if not node.input or any(name not in constants for name in node.input):
        return None
    value = constants[node.input[0]]
    if node.op_type == "Identity":
        return value
    if node.op_type == "Transpose":
        return np.ascontiguousarray(value.transpose(attributes.get("perm")))
    if node.op_type == "Cast" and attributes["to"] == TensorProto.FLOAT:
        return value.astype(np.float32)
    return None
