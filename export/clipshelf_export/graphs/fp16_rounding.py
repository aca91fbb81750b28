"""An fp16 graph as the CPU must compute it to show what fp16 loses.

onnxruntime's CPU provider has few kernels for fp16. It computes the others in fp32, and leaves out conversions that it
inserted itself, so that a number beyond the range of fp16 survives there and becomes infinity on a GPU. The graph of
this module computes every node in fp32, as the kernels of CUDA do inside, and rounds each result to fp16.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from clipshelf_export.graphs.builder import Graph

# Operators that move numbers, without rounding any.
MOVES = frozenset(
    ("Concat", "Expand", "Flatten", "Gather", "GatherND", "Reshape", "Slice", "Split", "Transpose", "Unsqueeze")
)
# Operators whose result is no number in fp16, whatever their input is.
WHOLE = frozenset({"ArgMax", "Equal", "Shape"})


def rounded_fp16(graph: Graph) -> Graph:
    """Return a graph that computes what `graph` computes in fp16, with the same names of tensors."""
    rounded = Graph(graph.opset)
    rounded.inputs = graph.inputs
    halves = {name for name, value in graph.constants.items() if value.dtype == np.float16}
    rounded.constants = {
        name: value.astype(np.float32) if name in halves else value for name, value in graph.constants.items()
    }
    for node in graph.nodes:
        if node.op_type == "Cast":
            to_half = _attribute(node, "to") == TensorProto.FLOAT16
            is_half = to_half
        else:
            is_half = node.op_type not in WHOLE and any(name in halves for name in node.input)
        halves.update(node.output if is_half else ())
        if not is_half or node.op_type in MOVES:
            rounded.nodes.append(node)
        elif node.op_type == "Cast":
            _round(rounded, node.input[0], node.output[0])
        else:
            _REWRITES.get(node.op_type, _add_rounded)(rounded, node)
    return rounded


def _add_rounded(graph: Graph, node: NodeProto) -> None:
    """Add a node, and round its results."""
    exact = NodeProto()
    exact.CopyFrom(node)
    exact.output[:] = [f"{name}.exact" if name else "" for name in node.output]
    graph.nodes.append(exact)
    for name in filter(None, node.output):
        _round(graph, f"{name}.exact", name)


def _add_attention(graph: Graph, node: NodeProto) -> None:
    """Add an Attention in its parts, whose results CUDA rounds too: the linear, its bias, and the attention."""
    x, weight, bias = node.input
    y = node.output[0]
    parts = [f"{y}.query", f"{y}.key", f"{y}.value"]
    heads, causal = _attribute(node, "num_heads"), _attribute(node, "unidirectional")
    for inner in (
        helper.make_node("MatMul", [x, weight], [f"{y}.product"]),
        helper.make_node("Add", [f"{y}.product", bias], [f"{y}.packed"]),
    ):
        _add_rounded(graph, inner)
    graph.nodes.append(helper.make_node("Split", [f"{y}.packed"], parts, axis=-1, num_outputs=3))
    inner = helper.make_node(
        "MultiHeadAttention", parts, [y], domain=node.domain, num_heads=heads, unidirectional=causal
    )
    _add_rounded(graph, inner)


def _add_skip_norm(graph: Graph, node: NodeProto) -> None:
    """Add a SkipLayerNormalization in its parts: the sum, rounded, and its norm."""
    branch, stream, gain, bias = node.input[:4]
    y = node.output[0]
    total = node.output[3] if len(node.output) > 3 else f"{y}.sum"
    added = branch
    if len(node.input) > 4:
        added = f"{y}.branch"
        graph.nodes.append(helper.make_node("Add", [branch, node.input[4]], [added]))
    _add_rounded(graph, helper.make_node("Add", [stream, added], [total]))
    epsilon = _attribute(node, "epsilon")
    _add_rounded(graph, helper.make_node("LayerNormalization", [total, gain, bias], [y], axis=-1, epsilon=epsilon))


_REWRITES = {"Attention": _add_attention, "SkipLayerNormalization": _add_skip_norm}


def _round(graph: Graph, x: str, y: str) -> None:
    """Add the rounding of `x` to fp16 as `y`, in fp32. Conversions that a graph has itself are not left out."""
    graph.nodes.append(helper.make_node("Cast", [x], [f"{y}.half"], to=TensorProto.FLOAT16))
    graph.nodes.append(helper.make_node("Cast", [f"{y}.half"], [y], to=TensorProto.FLOAT))


def _attribute(node: NodeProto, name: str) -> int | float:
    value: int | float = next(helper.get_attribute_value(item) for item in node.attribute if item.name == name)
    return value
