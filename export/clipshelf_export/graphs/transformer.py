"""Transformer towers as ONNX graphs: the two of CLIP, and text towers like BERT.

The graphs are exact rewrites of a plain export that run faster:

- mean and std are folded into the patch embedding, which reads uint8 pixels through Reshape and MatMul;
- queries, keys and values are one packed linear, and attention is one fused node;
- the last layer computes only the pooled token after its keys and values.

Norms stay Add and LayerNormalization: on the CPU the fused SkipLayerNormalization is slower.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import PatchEmbedding, Transformer
from clipshelf_export.graphs.branches import (
    ACTIVATION_KERNELS,
    add_attention,
    add_mlp,
    add_norm,
    to_branch,
    to_stream,
    uses_qattention,
)
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.inputs import add_patch_embedding, add_token_embedding
from clipshelf_export.graphs.linears import add_weight
from clipshelf_export.graphs.plan import Plan


def build(tower: Transformer, plan: Plan) -> tuple[Graph, str]:
    """Build the graph of a tower as `plan` says; return it and the name of its output, unit-norm (B, D)."""
    graph = Graph()
    if isinstance(tower.embedding, PatchEmbedding):
        x = add_patch_embedding(graph, tower.embedding, plan)
        pooled = _add_pre_norm_layers(graph, tower, plan, x, _first_token(graph))
    else:
        x = add_token_embedding(graph, tower.embedding, plan)
        if tower.post_norm:
            pooled = _add_post_norm_layers(graph, tower, plan, x)
        else:
            pooled = _add_pre_norm_layers(graph, tower, plan, x, _end_token(graph, tower))
    if tower.projection is not None:
        weight = add_weight(graph, "projection.weight", tower.projection.weight, plan)
        pooled = to_stream(graph, graph.op("MatMul", to_branch(graph, pooled, plan), weight), plan)
    rows = graph.op("Reshape", pooled, graph.const("rows", np.array([-1, tower.dim])))
    return graph, graph.op("LpNormalization", rows, axis=-1, p=2)


def fused_nodes(tower: Transformer, plan: Plan) -> Counter[str]:
    """Return how many nodes of each fused operator the graph must have, also after onnxruntime has optimised it."""
    layers = len(tower.layers)
    qattention = sum(
        uses_qattention(tower, plan, f"layers.{index}.qkv", last=index == layers - 1) for index in range(layers)
    )
    attention = {"QAttention": qattention, "MultiHeadAttention": layers - qattention}
    return Counter({**attention, ACTIVATION_KERNELS[tower.activation]: layers, "LpNormalization": 1})


def _add_pre_norm_layers(graph: Graph, tower: Transformer, plan: Plan, x: str, select: Callable[[str], str]) -> str:
    """Add CLIP's layers on x (B, L, C): x += attention(norm1(x)); x += mlp(norm2(x)).

    Returns the pooled token (B, 1, C) after the final norm. In the last layer `select` takes it out of the others as
    early as possible.
    """
    *body, last = tower.layers
    for index, layer in enumerate(body):
        with graph.scope(f"layers.{index}"):
            h = add_norm(graph, x, layer.norm1, plan, "qkv")
            x = _add_residual(graph, x, add_attention(graph, tower, layer, plan, h), plan)
            h = add_norm(graph, x, layer.norm2, plan, "fc1")
            x = _add_residual(graph, x, add_mlp(graph, tower, layer, plan, h), plan)
    with graph.scope(f"layers.{len(body)}"):
        h = add_norm(graph, x, last.norm1, plan, "qkv")
        attended = add_attention(graph, tower, last, plan, h, select=select)
        x = _add_residual(graph, select(x), attended, plan)
        h = add_norm(graph, x, last.norm2, plan, "fc1")
        x = _add_residual(graph, x, add_mlp(graph, tower, last, plan, h), plan)
    return add_norm(graph, x, tower.final_norm, Plan(), "") if tower.final_norm else x


def _add_post_norm_layers(graph: Graph, tower: Transformer, plan: Plan, x: str) -> str:
    """Add BERT's layers on x (B, L, C): x = norm1(x + attention(x)); x = norm2(x + mlp(x)).

    Returns the sum (B, 1, C) over the mask. The mean differs from it by a factor that the final L2 norm removes. A norm
    is added twice where its site has a smoothing or a shift, since the residual needs the plain one.
    """
    mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "tokens"])
    keys = graph.cast(mask, TensorProto.INT32)
    if tower.embedding.norm is None:
        raise ValueError("a tower with post_norm: expected a norm in its embedding, found none")
    total, norm = x, tower.embedding.norm
    for index, layer in enumerate(tower.layers):
        with graph.scope(f"layers.{index}"):
            h = add_norm(graph, total, norm, plan, "qkv")
            x = h if _serves_residual(graph, plan, "qkv") else add_norm(graph, total, norm, Plan(), "residual")
            total = _add_residual(graph, x, add_attention(graph, tower, layer, plan, h, keys=keys), plan)
            h = add_norm(graph, total, layer.norm1, plan, "fc1")
            x = h if _serves_residual(graph, plan, "fc1") else add_norm(graph, total, layer.norm1, Plan(), "residual")
            total, norm = _add_residual(graph, x, add_mlp(graph, tower, layer, plan, h), plan), layer.norm2
    return _masked_sum(graph, add_norm(graph, total, norm, Plan(), ""), mask)


def _serves_residual(graph: Graph, plan: Plan, site: str) -> bool:
    """Tell whether the norm before `site` has the values and the type that the residual needs."""
    params = plan.sites.get(graph.site_name(site))
    return plan.precision != "fp16" and (params is None or not params.transforms)


def _add_residual(graph: Graph, x: str, branch: str, plan: Plan) -> str:
    return graph.op("Add", x, to_stream(graph, branch, plan))


def _masked_sum(graph: Graph, x: str, mask: str) -> str:
    """Sum x (B, L, C) over the tokens where mask (B, L) is 1, to the same bits for any padding; returns (B, 1, C).

    The MatMul gets the mask as two equal rows and the second sum is dropped: for a single row onnxruntime takes a
    matrix-vector kernel whose order of summation depends on L.
    """
    row = graph.op("Unsqueeze", graph.cast(mask, TensorProto.FLOAT), graph.const("row", np.array([1])))
    sums = graph.op("MatMul", graph.op("Concat", row, row, axis=1), x)
    return _first_token(graph)(sums)


def _first_token(graph: Graph) -> Callable[[str], str]:
    """Return a function that takes the first token out: (B, L, C) to (B, 1, C)."""
    start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", 0), ("stop", 1), ("axis", 1)))
    return lambda x: graph.op("Slice", x, start, stop, axis)


def _end_token(graph: Graph, tower: Transformer) -> Callable[[str], str]:
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
