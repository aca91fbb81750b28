"""The ONNX nodes that make one row of the tokens of a text or a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import AttentionPool, Transformer
from clipshelf_export.graphs.branches import add_activation, add_norm, to_branch, to_stream
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.inputs import add_batch
from clipshelf_export.graphs.linears import add_linear
from clipshelf_export.graphs.plan import Plan

# Adds the nodes that take one token out of (B, L, C), and returns the name of (B, 1, C).
Select: TypeAlias = Callable[[str], str]


def first_token(graph: Graph) -> Select:
    """Return a function that takes the first token out: (B, L, C) to (B, 1, C)."""
    start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", 0), ("stop", 1), ("axis", 1)))
    return lambda x: graph.op("Slice", x, start, stop, axis)


def last_token(graph: Graph) -> Select:
    """Return a function that takes the last token out: (B, L, C) to (B, 1, C)."""
    end = np.iinfo(np.int64).max
    start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", -1), ("stop", end), ("axis", 1)))
    return lambda x: graph.op("Slice", x, start, stop, axis)


def end_token(graph: Graph, tower: Transformer) -> Select:
    """Return a function that takes the token at the end of the text out: (B, L, C) to (B, 1, C).

    Legacy CLIP configurations (eos_token_id 2) take the token with the largest id, which is the end of text. Others
    take the first token with the id of the end. The ids are cast to int32, which onnxruntime's ArgMax needs
    (openai/CLIP#219).
    """
    if tower.pooling == "argmax":
        marks = graph.cast("input_ids", TensorProto.INT32)
    else:
        hits = graph.op("Equal", "input_ids", graph.const("eos_id", np.int64(tower.eos_id)))
        marks = graph.cast(hits, TensorProto.INT32)
    position = graph.op("ArgMax", marks, axis=-1, keepdims=1)
    index = graph.op("Unsqueeze", position, graph.const("index_axis", np.array([-1])))
    return lambda x: graph.op("GatherND", x, index, batch_dims=1)


def masked_sum(graph: Graph, x: str, mask: str) -> str:
    """Sum x (B, L, C) over the tokens where mask (B, L) is 1, to the same bits for any padding; returns (B, 1, C).

    The MatMul gets the mask as two equal rows and the second sum is dropped: for a single row onnxruntime takes a
    matrix-vector kernel whose order of summation depends on L.
    """
    row = graph.op("Unsqueeze", graph.cast(mask, TensorProto.FLOAT), graph.const("row", np.array([1])))
    sums = graph.op("MatMul", graph.op("Concat", row, row, axis=1), x)
    return first_token(graph)(sums)


def divide_by_count(graph: Graph, total: str, mask: str) -> str:
    """Divide sums (B, 1, C) by the number of tokens whose mask (B, L) is 1; return the name of the means."""
    count = graph.op("ReduceSum", graph.cast(mask, TensorProto.FLOAT), graph.const("tokens_axis", np.array([1])))
    return graph.op("Div", total, graph.op("Unsqueeze", count, graph.const("count_axis", np.array([-1]))))


def add_attention_pool(graph: Graph, tower: Transformer, pool: AttentionPool, plan: Plan, x: str) -> str:
    """Add the pooling by one trained query: a = attention(probe, x); a + mlp(norm(a)). It stays in floating point.

    - `x`: (B, L, C) after the final norm.

    Returns the name of (B, 1, C).
    """
    width = len(pool.probe)
    with graph.scope("pool"):
        packed = add_linear(graph, "kv", to_branch(graph, x, plan), pool.qkv.columns(width, 3 * width), plan)
        k, v = graph.split(packed, 2)
        query = pool.qkv.columns(0, width)
        bias = 0 if query.bias is None else query.bias
        row = graph.const("query", (pool.probe @ query.weight + bias)[None, None].astype(np.float32))
        q = to_branch(graph, add_batch(graph, row, x, width), plan)
        attended = graph.op("MultiHeadAttention", q, k, v, num_heads=tower.heads)
        a = to_stream(graph, add_linear(graph, "out", attended, pool.out, plan), plan)
        h = add_norm(graph, a, pool.norm, plan, "fc1")
        y = add_linear(
            graph, "fc2", add_activation(graph, tower, add_linear(graph, "fc1", h, pool.fc1, plan)), pool.fc2, plan
        )
        return graph.op("Add", a, to_stream(graph, y, plan))
