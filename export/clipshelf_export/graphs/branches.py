"""The branches of a transformer layer as ONNX nodes: norm, attention and MLP.

A *branch* computes what a layer adds to its residual stream. In fp16 graphs the norms and the stream are fp32; linears,
attention and activations are fp16.
"""

from __future__ import annotations

from collections.abc import Callable

from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Layer, Linear, Norm, Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.linears import add_int8_operands, add_linear
from clipshelf_export.graphs.plan import Plan

# The kernel of each activation. QuickGelu with alpha 1 is silu, and onnxruntime computes it faster than with another
# alpha (measured in docs/design-notes/export.md). FastGelu is the approximation of GELU by tanh.
ACTIVATION_KERNELS = {"silu": "QuickGelu", "gelu": "Gelu", "gelu_tanh": "FastGelu"}
# Above this many tokens QAttention is no faster than MultiHeadAttention, and it holds the attention weights of a whole
# batch in memory.
QATTENTION_MAX_TOKENS = 300


def to_branch(graph: Graph, x: str, plan: Plan) -> str:
    """Convert a tensor of the residual stream to the type of a branch; return its name."""
    return graph.cast(x, TensorProto.FLOAT16) if plan.precision == "fp16" else x


def to_stream(graph: Graph, x: str, plan: Plan) -> str:
    """Convert a tensor of a branch to the type of the residual stream, float32; return its name."""
    return graph.cast(x, TensorProto.FLOAT) if plan.precision == "fp16" else x


def add_norm(graph: Graph, x: str, norm: Norm, plan: Plan, site: str) -> str:
    """Add the norm before a site, with the smoothing and the shift of the site folded in.

    - `x`: (B, L, C) of the residual stream.
    - `site`: the site's name in its scope; "" for a norm without a site after it.

    Returns the name of the normalised rows, in the type of a branch.
    """
    params = plan.sites.get(graph.site_name(site))
    norm = norm if params is None else params.fold_norm(norm)
    name = f"{site or 'final'}_norm"
    gain, bias = graph.const(f"{name}.gain", norm.gain), graph.const(f"{name}.bias", norm.bias)
    y = graph.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=norm.epsilon)
    return to_branch(graph, y, plan)


def add_attention(
    graph: Graph,
    tower: Transformer,
    layer: Layer,
    plan: Plan,
    x: str,
    *,
    select: Callable[[str], str] | None = None,
    keys: str = "",
) -> str:
    """Add the attention of a layer and its output linear.

    The smoothing and the shift of the site `out` are folded into the values: the attention of a head is a convex
    combination of its values, so that it transforms as they do.

    - `x`: normalised rows (B, L, C).
    - `select`: takes the pooled token out of (B, L, C), where only that token is needed; None for all tokens.
    - `keys`: the mask of keys, int32 (B, L); "" for none.

    Returns the name of the branch's rows, (B, L, C), or (B, 1, C) with `select`.
    """
    width, qkv = layer.out.weight.shape[0], layer.qkv
    out = plan.sites.get(graph.site_name("out"))
    if out is not None:
        qkv = out.fold_output(qkv, 2 * width)
    if uses_qattention(tower, plan, graph.site_name("qkv"), last=select is not None):
        attended = _add_qattention(graph, tower, qkv, plan, x)
    else:
        early_select = select if select is not None and not tower.causal else None
        attended = _add_multi_head_attention(graph, tower, qkv, plan, x, select=early_select, keys=keys)
    if select is not None and tower.causal:
        attended = select(attended)
    return add_linear(graph, "out", attended, layer.out, plan)


def uses_qattention(tower: Transformer, plan: Plan, site: str, *, last: bool) -> bool:
    """Tell whether one QAttention node computes the int8 linear `site` and the attention.

    This saves the split between them. The kernel works on one picture or sentence at a time, takes no mask and no
    outlier channels. In the last layer (`last`) of a tower that is not causal, a single query is cheaper.
    """
    params = plan.sites.get(site)
    if params is None or params.outliers or len(tower.embedding.positions) > QATTENTION_MAX_TOKENS:
        return False
    return not tower.takes_mask and (tower.causal or not last)


def _add_qattention(graph: Graph, tower: Transformer, qkv: Linear, plan: Plan, x: str) -> str:
    site = graph.site_name("qkv")
    graph.mark_site(site, x)
    params = plan.sites[site]
    int8 = add_int8_operands(graph, "qkv", x, params.fold_input(qkv), params)
    operands = (int8.x, int8.weight, int8.bias, int8.input_scale, int8.weight_scale, "", int8.zero_point)
    return graph.op("QAttention", *operands, **_attention_attributes(tower))


def _add_multi_head_attention(
    graph: Graph,
    tower: Transformer,
    qkv: Linear,
    plan: Plan,
    x: str,
    *,
    select: Callable[[str], str] | None,
    keys: str,
) -> str:
    """Add queries, keys and values and a MultiHeadAttention; with `select` the queries of the pooled token only."""
    if select is None:
        q, k, v = graph.split(add_linear(graph, "qkv", x, qkv, plan), 3)
    else:
        site, width = graph.site_name("qkv"), qkv.weight.shape[1] // 3
        packed = add_linear(graph, "kv", x, qkv.columns(width, 3 * width), plan, site=site)
        q = add_linear(graph, "q", select(x), qkv.columns(0, width), plan, site=site)
        k, v = graph.split(packed, 2)
    mask = ["", keys] if keys else []
    return graph.op("MultiHeadAttention", q, k, v, *mask, **_attention_attributes(tower))


def _attention_attributes(tower: Transformer) -> dict[str, int]:
    causal = {"unidirectional": 1} if tower.causal else {}
    return {"num_heads": tower.heads, **causal}


def add_activation(graph: Graph, tower: Transformer, x: str) -> str:
    """Add the activation of the tower's MLPs; return the name of its output."""
    if tower.activation == "silu":
        return graph.op("QuickGelu", x, alpha=1.0)
    return graph.op(ACTIVATION_KERNELS[tower.activation], x)


def add_mlp(graph: Graph, tower: Transformer, layer: Layer, plan: Plan, x: str) -> str:
    """Add fc2(activation(fc1(x))); a smoothing or a shift of `fc2` takes nodes, since no linear is before it.

    - `x`: normalised rows (B, L, C).

    Returns the name of the branch's rows, of the same shape.
    """
    y = add_activation(graph, tower, add_linear(graph, "fc1", x, layer.fc1, plan))
    params = plan.sites.get(graph.site_name("fc2"))
    if params is not None and params.shift is not None:
        y = graph.op("Sub", y, graph.const("fc2.shift", params.shift))
    if params is not None and params.smoothing is not None:
        y = graph.op("Mul", y, graph.const("fc2.unspread", 1 / params.smoothing))
    return add_linear(graph, "fc2", y, layer.fc2, plan)
