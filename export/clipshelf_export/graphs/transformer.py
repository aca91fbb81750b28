"""Transformer towers as ONNX graphs: CLIP's two, and BERT-like text towers.

Exact rewrites of the plain export, each of them measured: mean and std inside the patch embedding, patches as Reshape +
MatMul on uint8, packed queries, keys and values, fused attention, and a last layer that computes only the pooled token
past its keys and values. Norms stay `Add` + `LayerNormalization`: the CPU kernel of `SkipLayerNormalization` is slower.

In fp16 graphs the residual sums, norms and the final L2 norm are fp32; linears, attention and activations are fp16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Layer, Linear, Norm, PatchEmbedding, Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.inputs import embed_patches, embed_tokens
from clipshelf_export.graphs.plan import Plan, int8_operands, linear, stored_weight

# QuickGelu with alpha 1 is silu, for which onnxruntime has a kernel three times as fast as for another alpha
ACTIVATIONS = {"silu": "QuickGelu", "gelu": "Gelu"}
# Tokens above which QAttention is no faster than MultiHeadAttention, and holds all tokens x tokens weights of a batch.
LONG = 300


def build(tower: Transformer, plan: Plan) -> tuple[Graph, str]:
    """The graph of a tower, and the name of its output (B, dim), unit norm."""
    graph = Graph()
    if isinstance(tower.embedding, PatchEmbedding):
        x = embed_patches(graph, tower.embedding, plan)
        pooled = _pre_norm(graph, tower, plan, x, _first_token(graph))
    else:
        x = embed_tokens(graph, tower.embedding, plan)
        if tower.post_norm:
            pooled = _post_norm(graph, tower, plan, x)
        else:
            pooled = _pre_norm(graph, tower, plan, x, _end_token(graph, tower))
    if tower.projection is not None:
        weight = stored_weight(graph, "projection.weight", tower.projection.weight, plan)
        pooled = as_float(graph, graph.op("MatMul", as_branch(graph, pooled, plan), weight), plan)
    rows = graph.op("Reshape", pooled, graph.const("rows", np.array([-1, tower.dim])))
    return graph, graph.op("LpNormalization", rows, axis=-1, p=2)


def fused(tower: Transformer, plan: Plan) -> Counter[str]:
    """Nodes that the graph of a tower must have, also after the runtime's own rewriting."""
    layers = len(tower.layers)
    whole = sum(_whole(tower, plan, f"layers.{index}.qkv", last=index == layers - 1) for index in range(layers))
    attention = {"QAttention": whole, "MultiHeadAttention": layers - whole}
    return Counter({**attention, ACTIVATIONS[tower.activation]: layers, "LpNormalization": 1})


def as_branch(graph: Graph, x: str, plan: Plan) -> str:
    """From the residual stream into a branch: fp16 graphs compute branches in fp16."""
    return str(graph.op("Cast", x, to=TensorProto.FLOAT16)) if plan.precision == "fp16" else x


def as_float(graph: Graph, x: str, plan: Plan) -> str:
    """From a branch back to fp32."""
    return str(graph.op("Cast", x, to=TensorProto.FLOAT)) if plan.precision == "fp16" else x


def _pre_norm(graph: Graph, tower: Transformer, plan: Plan, x: str, select: Callable[[str], str]) -> str:
    """CLIP's layers on x (B, L, D): x += attention(norm1(x)); x += mlp(norm2(x)). Returns the pooled token (B, 1, D).

    In the last layer `select` takes the pooled token out as early as it can.
    """
    *body, last = tower.layers
    for index, layer in enumerate(body):
        with graph.scope(f"layers.{index}"):
            h = _norm(graph, x, layer.norm1, plan, "qkv")
            x = _add(graph, x, _attention(graph, tower, layer, plan, h), plan)
            x = _add(graph, x, _mlp(graph, tower, layer, plan, _norm(graph, x, layer.norm2, plan, "fc1")), plan)
    with graph.scope(f"layers.{len(body)}"):
        h = _norm(graph, x, last.norm1, plan, "qkv")
        attended = _attention(graph, tower, last, plan, h, select=select)
        x = _add(graph, select(x), attended, plan)
        x = _add(graph, x, _mlp(graph, tower, last, plan, _norm(graph, x, last.norm2, plan, "fc1")), plan)
    return _norm(graph, x, tower.final_norm, Plan(), "") if tower.final_norm else x


def _post_norm(graph: Graph, tower: Transformer, plan: Plan, x: str) -> str:
    """BERT's layers on x (B, L, D): x = norm1(x + attention(x)); x = norm2(x + mlp(x)), then the sum over the mask.

    The mean over the mask differs from the sum by a factor that the final L2 norm takes away.
    A branch whose plan moves its channels gets a norm of its own, since the residual needs the plain one.
    """
    mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "tokens"])
    keys = graph.op("Cast", mask, to=TensorProto.INT32)
    assert isinstance(tower.embedding.norm, Norm)
    summed, norm = x, tower.embedding.norm
    for index, layer in enumerate(tower.layers):
        with graph.scope(f"layers.{index}"):
            h = _norm(graph, summed, norm, plan, "qkv")
            x = h if _kept(graph, plan, "qkv") else _norm(graph, summed, norm, Plan(), "residual")
            summed, norm = _add(graph, x, _attention(graph, tower, layer, plan, h, keys=keys), plan), layer.norm1
            h = _norm(graph, summed, norm, plan, "fc1")
            x = h if _kept(graph, plan, "fc1") else _norm(graph, summed, norm, Plan(), "residual")
            summed, norm = _add(graph, x, _mlp(graph, tower, layer, plan, h), plan), layer.norm2
    x = _norm(graph, summed, norm, Plan(), "")
    return _masked_sum(graph, x, mask)


def _masked_sum(graph: Graph, x: str, mask: str) -> str:
    """Sum of x (B, L, D) where mask (B, L) is 1, as (B, 1, D), the same bits whatever the padding.

    Two equal rows of weights, of which one is used: for a single one onnxruntime takes a matrix-vector kernel whose
    order of summation depends on L.
    """
    row = graph.op("Unsqueeze", graph.op("Cast", mask, to=TensorProto.FLOAT), graph.const("row", np.array([1])))
    sums = graph.op("MatMul", graph.op("Concat", row, row, axis=1), x)
    return _first_token(graph)(str(sums))


def _norm(graph: Graph, x: str, norm: Norm, plan: Plan, site: str) -> str:
    """Normalise x (B, L, D) for the linear `site`, with its spread and shift folded in."""
    int8 = plan.sites.get(graph.site(site))
    norm = norm if int8 is None else int8.fold_norm(norm)
    name = f"{site or 'final'}_norm"
    constants = graph.const(f"{name}.gain", norm.gain), graph.const(f"{name}.bias", norm.bias)
    y = graph.op("LayerNormalization", x, *constants, axis=-1, epsilon=norm.epsilon)
    return as_branch(graph, y, plan)


def _kept(graph: Graph, plan: Plan, site: str) -> bool:
    """Whether the norm for `site` is also the plain one that the residual needs."""
    int8 = plan.sites.get(graph.site(site))
    return plan.precision != "fp16" and (int8 is None or (int8.spread is None and int8.shift is None))


def _attention(
    graph: Graph,
    tower: Transformer,
    layer: Layer,
    plan: Plan,
    h: str,
    *,
    select: Callable[[str], str] | None = None,
    keys: str = "",
) -> str:
    """Attention of h (B, L, D) and its output linear; with `select` for the pooled token only, (B, 1, D).

    The output site's spread and shift are folded into the values: a head's output is a convex sum of its values.
    """
    width, qkv, site = layer.out.weight.shape[0], layer.qkv, graph.site("qkv")
    out = plan.sites.get(graph.site("out"))
    if out is not None:
        qkv = out.fold_output(qkv, 2 * width)
    attributes = {"num_heads": tower.heads}
    if tower.causal:
        attributes["unidirectional"] = 1
    if _whole(tower, plan, site, last=select is not None):
        graph.tap(site, h)
        int8 = plan.sites[site]
        x8, weight, step, scale, zero, bias = int8_operands(graph, "qkv", h, int8.fold_input(qkv), int8)
        attended = graph.op("QAttention", x8, weight, bias, step, scale, "", zero, **attributes)
    else:
        if select is not None and not tower.causal:
            packed = linear(graph, "kv", h, columns(qkv, width, 3 * width), plan, site=site)
            q = linear(graph, "q", select(h), columns(qkv, 0, width), plan, site=site)
            k, v = graph.op("Split", packed, outputs=2, axis=-1, num_outputs=2)
        else:
            packed = linear(graph, "qkv", h, qkv, plan)
            q, k, v = graph.op("Split", packed, outputs=3, axis=-1, num_outputs=3)
        attended = graph.op("MultiHeadAttention", q, k, v, *(["", keys] if keys else []), **attributes)
    if select is not None and tower.causal:
        attended = select(attended)
    return linear(graph, "out", attended, layer.out, plan)


def _whole(tower: Transformer, plan: Plan, site: str, *, last: bool) -> bool:
    """Whether one node computes the int8 linear `site` and the attention, which saves the splitting between them.

    Its kernel takes a picture or a sentence at a time, and no columns in float.
    """
    int8 = plan.sites.get(site)
    if int8 is None or int8.outliers or len(tower.embedding.positions) > LONG:
        return False
    return not tower.takes_mask and (tower.causal or not last)


def _mlp(graph: Graph, tower: Transformer, layer: Layer, plan: Plan, h: str) -> str:
    """fc2(activation(fc1(h))); a spread or shift of fc2 takes nodes of its own."""
    y = linear(graph, "fc1", h, layer.fc1, plan)
    y = graph.op("QuickGelu", y, alpha=1.0) if tower.activation == "silu" else graph.op("Gelu", y)
    int8 = plan.sites.get(graph.site("fc2"))
    if int8 is not None and int8.shift is not None:
        y = graph.op("Sub", y, graph.const("fc2.shift", int8.shift))
    if int8 is not None and int8.spread is not None:
        y = graph.op("Mul", y, graph.const("fc2.unspread", 1 / int8.spread))
    return linear(graph, "fc2", y, layer.fc2, plan)


def columns(linear: Linear, start: int, stop: int) -> Linear:
    """The linear of some outputs only."""
    return Linear(linear.weight[:, start:stop], None if linear.bias is None else linear.bias[start:stop])


def _add(graph: Graph, x: str, branch: str, plan: Plan) -> str:
    return str(graph.op("Add", x, as_float(graph, branch, plan)))


def _first_token(graph: Graph) -> Callable[[str], str]:
    """(B, L, D) -> (B, 1, D): the class token."""
    start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", 0), ("stop", 1), ("axis", 1)))
    return lambda x: str(graph.op("Slice", x, start, stop, axis))


def _end_token(graph: Graph, tower: Transformer) -> Callable[[str], str]:
    """(B, L, D) -> (B, 1, D): the token at the end of text.

    Legacy CLIP configs (eos_token_id 2) take the largest id, which is the end's; int32, as onnxruntime's ArgMax wants
    (openai/CLIP#219). Others take the first position that holds the end's id.
    """
    if tower.pooling == "argmax":
        marks = graph.op("Cast", "input_ids", to=TensorProto.INT32)
    else:
        hits = graph.op("Equal", "input_ids", graph.const("eos_id", np.int64(tower.eos_id)))
        marks = graph.op("Cast", hits, to=TensorProto.INT32)
    position = graph.op("ArgMax", marks, axis=-1, keepdims=1)
    index = graph.op("Unsqueeze", position, graph.const("index_axis", np.array([-1])))
    return lambda x: str(graph.op("GatherND", x, index, batch_dims=1))
