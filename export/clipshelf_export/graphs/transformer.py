"""Transformer towers as ONNX graphs: those of CLIP and SigLIP, and text towers like BERT.

The graphs are exact rewrites of a plain export that run faster:

- mean and std are folded into the patch embedding, which reads uint8 pixels through Reshape and MatMul;
- queries, keys and values are one packed linear, and attention is one fused node;
- the last layer computes only the pooled token after its keys and values.

Norms stay Add and LayerNormalization but in fp16: on the CPU the fused SkipLayerNormalization is slower.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import PatchEmbedding, Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.float_layers import FloatLayers
from clipshelf_export.graphs.functions import ACTIVATION_KERNELS, Style
from clipshelf_export.graphs.half_layers import HalfLayers
from clipshelf_export.graphs.inputs import add_patch_embedding, add_token_embedding
from clipshelf_export.graphs.kernel_layers import KernelLayers
from clipshelf_export.graphs.layers import Layers, Token
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.graphs.pooling import (
    divide_by_count,
    end_token,
    end_token_on_cuda,
    first_token,
    last_token,
)


def build(tower: Transformer, plan: Plan) -> tuple[Graph, str]:
    """Build the graph of a tower as `plan` says; return it and the name of its output, unit-norm (B, D)."""
    graph = Graph()
    layers = _make_layers(graph, tower, plan)
    if isinstance(tower.embedding, PatchEmbedding):
        x = add_patch_embedding(graph, tower.embedding, layers, plan)
        pooled = _add_pre_norm_layers(graph, tower, layers, x, plan)
    else:
        x = add_token_embedding(graph, tower.embedding, plan)
        add_layers = _add_post_norm_layers if tower.post_norm else _add_pre_norm_layers
        pooled = add_layers(graph, tower, layers, x, plan)
    if tower.hidden_projection is not None:
        pooled = layers.projection("hidden_projection", pooled, tower.hidden_projection, gelu=True)
    if tower.projection is not None:
        pooled = layers.projection("projection", pooled, tower.projection)
    rows = graph.op("Reshape", pooled, graph.const("rows", np.array([-1, tower.dim])))
    return graph, layers.unit_norm(rows)


def _make_layers(graph: Graph, tower: Transformer, plan: Plan) -> Layers:
    """Return what writes the layers of a tower as `plan` says."""
    if plan.precision == "int8":
        return KernelLayers(graph, tower, plan)
    return (HalfLayers if plan.fp16_stream else FloatLayers)(graph, tower, plan)


def fused_nodes(tower: Transformer, plan: Plan) -> Counter[str]:
    """Return how many nodes of each fused operator the graph must have, also after onnxruntime has optimised it."""
    layers = len(tower.layers)
    pools = 0 if tower.attention_pool is None else 1
    last = layers - 1 if not pools and tower.pooling != "mean" else layers
    if plan.fp16_stream:
        return _fused_half_nodes(tower)
    qattention = sum(_uses_qattention(tower, plan, index, pooled=index == last) for index in range(layers))
    attention = {"QAttention": qattention, "MultiHeadAttention": layers - qattention + pools}
    counts = Counter({**attention, ACTIVATION_KERNELS[tower.activation]: layers + pools, "LpNormalization": 1})
    if tower.hidden_projection is not None:
        counts["Gelu"] += 1
    return counts


def _fused_half_nodes(tower: Transformer) -> Counter[str]:
    """Return `fused_nodes` of a graph whose stream is fp16."""
    layers, pools = len(tower.layers), 0 if tower.attention_pool is None else 1
    one_token = tower.pooling not in ("mean", "attention") and not tower.causal
    separate = layers if tower.post_norm else int(one_token)  # with a mask, or with the query of one token
    follows_norm = tower.final_norm is not None or tower.post_norm
    return Counter(
        {
            "Attention": layers - separate,
            "MultiHeadAttention": separate + pools,
            "SkipLayerNormalization": 2 * layers - (0 if follows_norm else 1),
            ACTIVATION_KERNELS[tower.activation]: layers + pools,
            "LpNormalization": 1,
        }
    ) + Counter({"Gelu": int(tower.hidden_projection is not None)})


def _uses_qattention(tower: Transformer, plan: Plan, index: int, *, pooled: bool) -> bool:
    """Tell whether one node computes the int8 linear and the attention of a layer."""
    params = plan.sites.get(f"layers.{index}.qkv")
    return params is not None and Style.of(tower).uses_qattention(columns=bool(params.outliers), position=pooled)


def _add_pre_norm_layers(graph: Graph, tower: Transformer, layers: Layers, x: str, plan: Plan) -> str:
    """Add CLIP's layers on x (B, L, C): x += attention(norm1(x)); x += mlp(norm2(x)).

    Returns the pooled token (B, 1, C) after the final norm. In the last layer it is taken out of the others as early as
    possible, unless all of them are pooled.
    """
    pooled = _pooled_token(graph, tower, plan)
    for index, layer in enumerate(tower.layers):
        token = pooled if index == len(tower.layers) - 1 else None
        with graph.scope(f"layers.{index}"):
            x = layers.attention(layers.site_norm(x, layer.norm1, "qkv"), layer, x, token=token, keys="")
            x = layers.mlp(layers.site_norm(x, layer.norm2, "fc1"), layer, x)
    x = layers.norm(x, tower.final_norm, "final_norm") if tower.final_norm else layers.stream(x)
    return x if tower.attention_pool is None else layers.attention_pool(tower.attention_pool, x)


def _add_post_norm_layers(graph: Graph, tower: Transformer, layers: Layers, x: str, plan: Plan) -> str:
    """Add BERT's layers on x (B, L, C): x = norm1(x + attention(x)); x = norm2(x + mlp(x)).

    Returns the first token (B, 1, C), or for the pooling `mean` the sum over the mask: the mean differs from it by a
    factor that the final L2 norm removes, unless an activation comes between them.
    """
    mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "tokens"])
    keys = graph.cast(mask, TensorProto.INT32)
    if tower.embedding.norm is None:
        raise ValueError("a tower with post_norm: expected a norm in its embedding, found none")
    pooled = _pooled_token(graph, tower, plan)
    norm = tower.embedding.norm
    for index, layer in enumerate(tower.layers):
        token = pooled if index == len(tower.layers) - 1 else None
        with graph.scope(f"layers.{index}"):
            rows, x = layers.site_norm_and_stream(x, norm, "qkv")
            x = layers.attention(rows, layer, x, token=token, keys=keys)
            rows, x = layers.site_norm_and_stream(x, layer.norm1, "fc1")
            x, norm = layers.mlp(rows, layer, x), layer.norm2
    x = layers.norm(x, norm, "final_norm")
    x = layers.norm(x, tower.final_norm, "pool_norm") if tower.final_norm else x
    if tower.pooling != "mean":
        return x
    total = layers.token_sum(x, mask)
    return total if tower.hidden_projection is None else divide_by_count(graph, total, mask)


def _pooled_token(graph: Graph, tower: Transformer, plan: Plan) -> Token | None:
    """Return the pooled token, None where all tokens are pooled."""
    match tower.pooling:
        case "first":
            return first_token(graph)
        case "last":
            return last_token(graph)
        case "argmax" | "eos":
            return end_token(graph, tower) if plan.precision != "fp16" else end_token_on_cuda(graph, tower)
        case _:
            return None
