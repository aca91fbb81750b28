"""Transformer towers as ONNX graphs: those of CLIP and SigLIP, and text towers like BERT.

The graphs are exact rewrites of a plain export that run faster:

- mean and std are folded into the patch embedding, which reads uint8 pixels through Reshape and MatMul;
- queries, keys and values are one packed linear, and attention is one fused node;
- the last layer computes only the pooled token after its keys and values.

Norms stay Add and LayerNormalization: on the CPU the fused SkipLayerNormalization is slower.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Linear, PatchEmbedding, Transformer
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
from clipshelf_export.graphs.pooling import (
    Select,
    add_attention_pool,
    divide_by_count,
    end_token,
    first_token,
    last_token,
    masked_sum,
)


def build(tower: Transformer, plan: Plan) -> tuple[Graph, str]:
    """Build the graph of a tower as `plan` says; return it and the name of its output, unit-norm (B, D)."""
    graph = Graph()
    if isinstance(tower.embedding, PatchEmbedding):
        x = add_patch_embedding(graph, tower.embedding, plan)
        pooled = _add_pre_norm_layers(graph, tower, plan, x)
    else:
        x = add_token_embedding(graph, tower.embedding, plan)
        add_layers = _add_post_norm_layers if tower.post_norm else _add_pre_norm_layers
        pooled = add_layers(graph, tower, plan, x)
    if tower.hidden_projection is not None:
        hidden = _add_projection(graph, "hidden_projection", pooled, tower.hidden_projection, plan)
        pooled = graph.op("Gelu", hidden)
    if tower.projection is not None:
        pooled = _add_projection(graph, "projection", pooled, tower.projection, plan)
    rows = graph.op("Reshape", pooled, graph.const("rows", np.array([-1, tower.dim])))
    return graph, graph.op("LpNormalization", rows, axis=-1, p=2)


def fused_nodes(tower: Transformer, plan: Plan) -> Counter[str]:
    """Return how many nodes of each fused operator the graph must have, also after onnxruntime has optimised it."""
    layers = len(tower.layers)
    pools = 0 if tower.attention_pool is None else 1
    last = layers - 1 if not pools and tower.pooling != "mean" else layers
    qattention = sum(uses_qattention(tower, plan, f"layers.{index}.qkv", last=index == last) for index in range(layers))
    attention = {"QAttention": qattention, "MultiHeadAttention": layers - qattention + pools}
    counts = Counter({**attention, ACTIVATION_KERNELS[tower.activation]: layers + pools, "LpNormalization": 1})
    if tower.hidden_projection is not None:
        counts["Gelu"] += 1
    return counts


def _add_projection(graph: Graph, name: str, x: str, projection: Linear, plan: Plan) -> str:
    weight = add_weight(graph, f"{name}.weight", projection.weight, plan)
    y = to_stream(graph, graph.op("MatMul", to_branch(graph, x, plan), weight), plan)
    return y if projection.bias is None else graph.op("Add", y, graph.const(f"{name}.bias", projection.bias))


def _add_pre_norm_layers(graph: Graph, tower: Transformer, plan: Plan, x: str) -> str:
    """Add CLIP's layers on x (B, L, C): x += attention(norm1(x)); x += mlp(norm2(x)).

    Returns the pooled token (B, 1, C) after the final norm. In the last layer it is taken out of the others as early as
    possible, unless all of them are pooled.
    """
    select = _selector(graph, tower)
    for index, layer in enumerate(tower.layers):
        chosen = select if index == len(tower.layers) - 1 else None
        with graph.scope(f"layers.{index}"):
            h = add_norm(graph, x, layer.norm1, plan, "qkv")
            attended = add_attention(graph, tower, layer, plan, h, select=chosen)
            x = _add_residual(graph, x if chosen is None else chosen(x), attended, plan)
            h = add_norm(graph, x, layer.norm2, plan, "fc1")
            x = _add_residual(graph, x, add_mlp(graph, tower, layer, plan, h), plan)
    x = add_norm(graph, x, tower.final_norm, Plan(), "") if tower.final_norm else x
    return x if tower.attention_pool is None else add_attention_pool(graph, tower, tower.attention_pool, plan, x)


def _add_post_norm_layers(graph: Graph, tower: Transformer, plan: Plan, x: str) -> str:
    """Add BERT's layers on x (B, L, C): x = norm1(x + attention(x)); x = norm2(x + mlp(x)).

    Returns the first token (B, 1, C), or for the pooling `mean` the sum over the mask: the mean differs from it by a
    factor that the final L2 norm removes, unless an activation comes between them. A norm is added twice where its site
    has a smoothing or a shift, since the residual needs the plain one.
    """
    mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "tokens"])
    keys = graph.cast(mask, TensorProto.INT32)
    if tower.embedding.norm is None:
        raise ValueError("a tower with post_norm: expected a norm in its embedding, found none")
    select = _selector(graph, tower)
    total, norm = x, tower.embedding.norm
    for index, layer in enumerate(tower.layers):
        chosen = select if index == len(tower.layers) - 1 else None
        with graph.scope(f"layers.{index}"):
            h = add_norm(graph, total, norm, plan, "qkv")
            x = h if _serves_residual(graph, plan, "qkv") else add_norm(graph, total, norm, Plan(), "residual")
            attended = add_attention(graph, tower, layer, plan, h, select=chosen, keys=keys)
            total = _add_residual(graph, x if chosen is None else chosen(x), attended, plan)
            h = add_norm(graph, total, layer.norm1, plan, "fc1")
            x = h if _serves_residual(graph, plan, "fc1") else add_norm(graph, total, layer.norm1, Plan(), "residual")
            total, norm = _add_residual(graph, x, add_mlp(graph, tower, layer, plan, h), plan), layer.norm2
    x = add_norm(graph, total, norm, Plan(), "")
    x = add_norm(graph, x, tower.final_norm, Plan(), "pool") if tower.final_norm else x
    if tower.pooling != "mean":
        return x
    total = masked_sum(graph, x, mask)
    return total if tower.hidden_projection is None else divide_by_count(graph, total, mask)


def _selector(graph: Graph, tower: Transformer) -> Select | None:
    """Return the function that takes the pooled token out, None where all tokens are pooled."""
    match tower.pooling:
        case "first":
            return first_token(graph)
        case "last":
            return last_token(graph)
        case "argmax" | "eos":
            return end_token(graph, tower)
        case _:
            return None


def _serves_residual(graph: Graph, plan: Plan, site: str) -> bool:
    """Tell whether the norm before `site` has the values and the type that the residual needs."""
    params = plan.sites.get(graph.site_name(site))
    return plan.precision != "fp16" and (params is None or not params.transforms)


def _add_residual(graph: Graph, x: str, branch: str, plan: Plan) -> str:
    return graph.op("Add", x, to_stream(graph, branch, plan))
