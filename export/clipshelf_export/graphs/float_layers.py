"""Transformer layers of standard operators and fused ones of onnxruntime, in fp32 or fp16.

In fp16 graphs the norms and the stream are fp32; linears, attention and activations are fp16. `half_layers` has the
faster ones whose stream is fp16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import AttentionPool, Layer, Linear, Norm, PatchEmbedding, Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.functions import ACTIVATION_KERNELS
from clipshelf_export.graphs.inputs import add_batch, fold_pixels
from clipshelf_export.graphs.layers import Rows, Token
from clipshelf_export.graphs.linears import add_linear, add_weight
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.graphs.weights import float32


class FloatLayers:
    """See `layers.Layers`.

    - `graph`: that is written.
    - `tower`: its numbers.
    - `plan`: in fp32 or fp16.
    """

    def __init__(self, graph: Graph, tower: Transformer, plan: Plan) -> None:
        self._graph, self._tower, self._plan = graph, tower, plan
        self._half = plan.precision == "fp16"

    def norm(self, x: str, norm: Norm, name: str) -> str:
        """See `layers.Layers`."""
        gain, bias = self._graph.const(f"{name}.gain", norm.gain), self._graph.const(f"{name}.bias", norm.bias)
        return self._graph.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=norm.epsilon)

    def stream(self, x: str) -> str:
        """See `layers.Layers`."""
        return x

    def patches(self, x: str, embedding: PatchEmbedding) -> str:
        """See `layers.Layers`. The pixels are centred on 128, which is exact in every precision."""
        graph = self._graph
        weight, bias = fold_pixels(embedding)
        x = graph.op("Sub", graph.cast(x, TensorProto.FLOAT), graph.const("patches.centre", np.float32(128)))
        if self._half:
            # (pixel - 128) / 128 is exact in fp16, and weights 128 times as large are not subnormal
            half = graph.const("patches.weight", (weight * 128).astype(np.float16))
            x = graph.op("Mul", x, graph.const("patches.step", np.float32(1 / 128)))
            y = self._to_stream(graph.op("MatMul", self._to_branch(x), half))
        else:
            y = graph.op("MatMul", x, graph.const("patches.weight", weight))
        return graph.op("Add", y, graph.const("patches.bias", bias))

    def site_norm(self, x: str, norm: Norm, site: str) -> Rows:
        """See `layers.Layers`."""
        return Rows(self._to_branch(self.norm(x, norm, f"{site}_norm")))

    def site_norm_and_stream(self, x: str, norm: Norm, site: str) -> tuple[Rows, str]:
        """See `layers.Layers`."""
        rows = self.site_norm(x, norm, site)
        return rows, self.norm(x, norm, "residual_norm") if self._half else rows.x

    def attention(self, rows: Rows, layer: Layer, stream: str, *, token: Token | None, keys: str) -> str:
        """See `layers.Layers`."""
        early = token.select if token is not None and not self._tower.causal else None
        attended = self._attend(layer.qkv, rows.x, early, keys)
        if token is not None and self._tower.causal:
            attended = token.select(attended)
        branch = self._linear("out", attended, layer.out)
        stream = stream if token is None else token.select(stream)
        return self._graph.op("Add", stream, self._to_stream(branch))

    def mlp(self, rows: Rows, layer: Layer, stream: str) -> str:
        """See `layers.Layers`."""
        hidden = self._activate(self._linear("fc1", rows.x, layer.fc1))
        return self._graph.op("Add", stream, self._to_stream(self._linear("fc2", hidden, layer.fc2)))

    def attention_pool(self, pool: AttentionPool, x: str) -> str:
        """See `layers.Layers`."""
        graph, width = self._graph, len(pool.probe)
        with graph.scope("pool"):
            packed = self._linear("kv", self._to_branch(x), pool.qkv.columns(width, 3 * width))
            k, v = graph.split(packed, 2)
            row = graph.const("query", pool_query(pool))
            q = self._to_branch(add_batch(graph, row, x, width))
            attended = graph.op("MultiHeadAttention", q, k, v, num_heads=self._tower.heads)
            a = self._to_stream(self._linear("out", attended, pool.out))
            h = self._to_branch(self.norm(a, pool.norm, "fc1_norm"))
            y = self._linear("fc2", self._activate(self._linear("fc1", h, pool.fc1)), pool.fc2)
            return graph.op("Add", a, self._to_stream(y))

    def projection(self, name: str, x: str, linear: Linear, *, gelu: bool = False) -> str:
        """See `layers.Layers`."""
        graph = self._graph
        weight = add_weight(graph, f"{name}.weight", linear.weight, self._plan)
        y = self._to_stream(graph.op("MatMul", self._to_branch(x), weight))
        y = y if linear.bias is None else graph.op("Add", y, graph.const(f"{name}.bias", linear.bias))
        return graph.op("Gelu", y) if gelu else y

    def token_sum(self, x: str, mask: str) -> str:
        """See `layers.Layers`.

        The MatMul gets the mask as two equal rows and the second sum is dropped: for a single row onnxruntime takes a
        matrix-vector kernel whose order of summation depends on L.
        """
        graph = self._graph
        row = graph.op("Unsqueeze", graph.cast(mask, TensorProto.FLOAT), graph.const("row", np.array([1])))
        sums = graph.op("MatMul", graph.op("Concat", row, row, axis=1), x)
        start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", 0), ("stop", 1), ("axis", 1)))
        return graph.op("Slice", sums, start, stop, axis)

    def unit_norm(self, x: str) -> str:
        """See `layers.Layers`."""
        return self._graph.op("LpNormalization", x, axis=-1, p=2)

    def _attend(self, qkv: Linear, x: str, select: Callable[[str], str] | None, keys: str) -> str:
        """Add queries, keys and values and their attention; with `select` the queries of the pooled token only."""
        graph, causal = self._graph, {"unidirectional": 1} if self._tower.causal else {}
        if select is None:
            q, k, v = graph.split(self._linear("qkv", x, qkv), 3)
        else:
            site, width = graph.site_name("qkv"), qkv.weight.shape[1] // 3
            packed = add_linear(graph, "kv", x, qkv.columns(width, 3 * width), self._plan, site=site)
            q = add_linear(graph, "q", select(x), qkv.columns(0, width), self._plan, site=site)
            k, v = graph.split(packed, 2)
        mask = ["", keys] if keys else []
        return graph.op("MultiHeadAttention", q, k, v, *mask, num_heads=self._tower.heads, **causal)

    def _linear(self, name: str, x: str, linear: Linear) -> str:
        return add_linear(self._graph, name, x, linear, self._plan)

    def _activate(self, x: str) -> str:
        if self._tower.activation == "silu":
            return self._graph.op("QuickGelu", x, alpha=1.0)
        return self._graph.op(ACTIVATION_KERNELS[self._tower.activation], x)

    def _to_branch(self, x: str) -> str:
        return self._graph.cast(x, TensorProto.FLOAT16) if self._half else x

    def _to_stream(self, x: str) -> str:
        return self._graph.cast(x, TensorProto.FLOAT) if self._half else x


def pool_query(pool: AttentionPool) -> np.ndarray:
    """Return the trained query after its linear, (1, 1, C) float32."""
    query = pool.qkv.columns(0, len(pool.probe))
    bias = 0 if query.bias is None else query.bias
    return float32((pool.probe @ query.weight + bias)[None, None])
