"""Towers that are ready ONNX graphs, wrapped into the contract of an artifact.

The network stays as it is. Before it come uint8 pixels, or token ids of any length; behind it comes the unit norm. Its
linears are sites of a plan (`graphs.plan`), like those of a transformer tower: every MatMul or Gemm with a constant
matrix. Tables of token rows are sites without calibration. All other weights are stored as the plan says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from onnx import NodeProto, TensorProto, helper, numpy_helper

from clipshelf_export.checkpoints.towers import Norm, OnnxTower, PixelInput, TokenInput
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.inputs import add_padding
from clipshelf_export.graphs.linears import add_linear
from clipshelf_export.graphs.onnx_linears import (
    STORED_AT_LEAST,
    OnnxLinear,
    captured_names,
    find_linears,
    find_tables,
    reads_table,
)
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.graphs.weights import quantise_table

# Names of the nodes that the contract adds begin with this scope.
SCOPE = "clipshelf"


def build(tower: OnnxTower, plan: Plan, *, for_calibration: bool = False) -> tuple[Graph, str]:
    """Build the graph of a tower as `plan` says; return it and the name of its output, unit-norm (B, D).

    - `for_calibration`: whether what enters a site can become an output: as rows, and for one input only where the
      network takes no more.

    Raises ExportError for fp16, since not every operator of a ready graph has a kernel for it.
    """
    if plan.precision == "fp16":
        raise ExportError("fp16: expected a tower of a known family, found a ready graph (fp32 and int8 work)")
    graph = Graph(opset=tower.opset)
    with graph.scope(SCOPE):
        inputs = _add_inputs(graph, tower.input)
        if tower.single and not for_calibration:
            features = _add_one_at_a_time(graph, tower, plan, inputs)
        else:
            features = _add_network(graph, tower, plan, inputs, for_calibration=for_calibration)
        rows_of_features = graph.op("Reshape", features, graph.const("rows", np.array([-1, tower.dim])))
        return graph, graph.op("LpNormalization", rows_of_features, axis=-1, p=2)


def _add_inputs(graph: Graph, source: PixelInput | TokenInput) -> list[str]:
    """Declare the inputs of the contract; return their names."""
    if isinstance(source, PixelInput):
        return [graph.input("pixels", TensorProto.UINT8, ["batch", source.size, source.size, 3])]
    names = ["input_ids"] if source.mask is None else ["input_ids", "attention_mask"]
    return [graph.input(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]


def _add_network(
    graph: Graph, tower: OnnxTower, plan: Plan, inputs: list[str], *, for_calibration: bool = False
) -> str:
    """Add what prepares the inputs, and the network; return the name of its output."""
    if isinstance(tower.input, PixelInput):
        feeds = {tower.input.name: _add_pixels(graph, tower.input, inputs[0])}
    else:
        feeds = _add_tokens(graph, tower.input, inputs)
    linears = {output: linear for linear in find_linears(tower) for output in linear.outputs}
    folding = {linear.x: plan.sites[linear.site] for linear in linears.values() if _folds(linear, plan)}
    tables, stored = find_tables(tower), _Constants(graph, tower, plan)
    for original in tower.nodes:
        linear, table = linears.get(original.output[0]), tables.get(original.input[0]) if original.input else None
        if linear is not None:
            if original.output[0] == linear.outputs[0]:
                _add_linear(graph, linear, plan, feeds, for_calibration=for_calibration)
        elif table in plan.sites and reads_table(original, tower):
            ids = feeds.get(original.input[1], original.input[1])
            _add_table(graph, str(table), tower.constants[original.input[0]], ids, original.output[0])
        else:
            node = NodeProto()
            node.CopyFrom(original)
            if node.output[0] in folding:
                node.input[1:] = _fold_norm(graph, node, tower, folding[node.output[0]])
            node.input[:] = [stored.use(feeds.get(name, name)) for name in node.input]
            stored.use_in_subgraphs(node)
            graph.nodes.append(node)
    return tower.output


def _add_linear(graph: Graph, linear: OnnxLinear, plan: Plan, feeds: dict[str, str], *, for_calibration: bool) -> None:
    """Add a linear, whose results keep the names that other nodes and subgraphs of the network know."""
    x = feeds.get(linear.x, linear.x)
    if for_calibration:
        graph.mark_site(linear.site, graph.op("Flatten", x, axis=-1))
    params = plan.sites.get(linear.site)
    if params is not None and params.transforms and not linear.after_norm:
        x = _add_transform(graph, linear.site, x, params)
    y = add_linear(graph, linear.site, x, linear.linear, plan, site=linear.site)
    if len(linear.outputs) == 1:
        graph.nodes.append(helper.make_node("Identity", [y], linear.outputs))
    else:
        sizes = graph.const(f"{linear.site}.sizes", np.array(linear.sizes))
        graph.nodes.append(helper.make_node("Split", [y, sizes], linear.outputs, axis=-1))


def _folds(linear: OnnxLinear, plan: Plan) -> bool:
    params = plan.sites.get(linear.site)
    return linear.after_norm and params is not None and params.transforms


def _fold_norm(graph: Graph, node: Any, tower: OnnxTower, params: Int8Params) -> list[str]:
    """Add the gain and the bias with which a layer normalisation puts out x' (`graphs.plan`); return their names."""
    gain = tower.constants[node.input[1]]
    bias = tower.constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(gain)
    folded = params.fold_norm(Norm(gain, bias, 0.0))
    return [graph.const("norm.gain", folded.gain), graph.const("norm.bias", folded.bias)]


def _add_transform(graph: Graph, site: str, x: str, params: Int8Params) -> str:
    """Add the smoothing and the shift of a site; return the name of x' (`graphs.plan`)."""
    if params.shift is not None:
        x = graph.op("Sub", x, graph.const(f"{site}.shift", params.shift))
    if params.smoothing is not None:
        x = graph.op("Div", x, graph.const(f"{site}.smoothing", params.smoothing))
    return x


def _add_pixels(graph: Graph, source: PixelInput, pixels: str) -> str:
    """Normalise pixels, uint8 (B, S, S, 3), to float32 (B, 3, S, S); return them as they are where the network does."""
    if source.mean is None or source.std is None:
        return pixels
    x = graph.op("Div", graph.cast(pixels, TensorProto.FLOAT), graph.const("white", np.float32(255)))
    x = graph.op("Div", graph.op("Sub", x, graph.const("mean", source.mean)), graph.const("std", source.std))
    return graph.op("Transpose", x, perm=[0, 3, 1, 2])


def _add_tokens(graph: Graph, source: TokenInput, inputs: list[str]) -> dict[str, str]:
    """Pad token ids and mask, and convert them; return the tensors by the names that the network gives its inputs."""
    values = {source.ids: inputs[0]}
    if source.padding is not None:
        values[source.ids] = add_padding(graph, inputs[0], source.padding)
    if source.mask is not None:
        values[source.mask] = inputs[1]
        if source.padding is not None:
            length = graph.const("mask_length", np.array([source.padding.length]))
            missing = graph.op("Sub", length, graph.op("Shape", inputs[1], start=1, end=2))
            ends = graph.op("Concat", graph.const("no_mask", np.zeros(3, np.int64)), missing, axis=0)
            values[source.mask] = graph.op("Pad", inputs[1], ends)
    if source.types is not None:
        values[source.types] = graph.op("Mul", values[source.ids], graph.const("type", np.int64(0)))
    if source.int32:
        values = {name: graph.cast(value, TensorProto.INT32) for name, value in values.items()}
    return values


def _add_table(graph: Graph, site: str, table: Any, ids: str, output: str) -> None:
    """Add a Gather from a table of tokens (V, C) that is stored in int8; `output` is the name of its result."""
    rows, row_scale, channel_scale = quantise_table(table)
    x = graph.cast(graph.op("Gather", graph.const(site, rows), ids), TensorProto.FLOAT)
    scale = graph.op("Gather", graph.const(f"{site}.scale", row_scale[:, None]), ids)
    spread = graph.const(f"{site}.spread", channel_scale)
    graph.nodes.append(helper.make_node("Mul", [graph.op("Mul", x, scale), spread], [output]))


def _add_one_at_a_time(graph: Graph, tower: OnnxTower, plan: Plan, inputs: list[str]) -> str:
    """Add a Scan whose body runs the network for each item of a batch.

    Returns the name of the features (B, D) of all items.
    """
    first, items = len(graph.nodes), [f"{SCOPE}/{name}.item" for name in inputs]
    axis = graph.const("batch_axis", np.array([0]))
    features = _add_network(graph, tower, plan, [graph.op("Unsqueeze", item, axis) for item in items])
    row = graph.op("Reshape", features, graph.const("row", np.array([tower.dim])))
    nodes = graph.nodes[first:]
    del graph.nodes[first:]
    body_inputs = []
    for value, item in zip(graph.inputs, items, strict=True):
        tensor = value.type.tensor_type
        shape = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in tensor.shape.dim[1:]]
        body_inputs.append(helper.make_tensor_value_info(item, tensor.elem_type, shape))
    output = helper.make_tensor_value_info(row, TensorProto.FLOAT, [tower.dim])
    body = helper.make_graph(nodes, "item", body_inputs, [output])
    made = f"{SCOPE}/features"
    graph.nodes.append(helper.make_node("Scan", inputs, [made], body=body, num_scan_inputs=len(inputs)))
    return made


class _Constants:
    """The constants of a network that are not in sites; each is added once, stored as the plan says."""

    def __init__(self, graph: Graph, tower: OnnxTower, plan: Plan) -> None:
        self._graph, self._constants, self._plan = graph, tower.constants, plan
        self._names: dict[str, str] = {}
        self._scalars: set[str] = set()

    def use(self, name: str) -> str:
        """Return the tensor that holds a constant; `name` itself where it is none."""
        if name not in self._constants:
            return name
        if name not in self._names:
            self._names[name] = self._add(name, self._constants[name])
        return self._names[name]

    def use_in_subgraphs(self, node: Any) -> None:
        """Add the constants that the subgraphs of a node read, under the names that they have there."""
        for name in captured_names(node):
            if name in self._constants:
                self._store(name, self._constants[name])

    def _add(self, name: str, value: np.ndarray[Any, Any]) -> str:
        if value.dtype != np.float32 or value.size < STORED_AT_LEAST or not self._plan.fp16_stored:
            self._store(name, value)
            return name
        with np.errstate(over="ignore"):
            return self._graph.cast(self._graph.const("half", value.astype(np.float16)), TensorProto.FLOAT)

    def _store(self, name: str, value: np.ndarray[Any, Any]) -> None:
        """Add a constant under its own name; a scalar is a node, since a graph's constants have an axis at least."""
        if value.ndim:
            self._graph.constants[name] = value
        elif name not in self._scalars:
            self._scalars.add(name)
            self._graph.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
