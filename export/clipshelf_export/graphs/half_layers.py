"""Transformer layers in fp16 for the CUDA provider.

Everything between the input and the unit norm is fp16, the stream too, so that no node converts: six to eight nodes a
layer, each with a kernel of CUDA. The sum of a branch with the stream, the bias of its linear and the norm after it
are one SkipLayerNormalization; queries, keys, values and their attention are one Attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import AttentionPool, Layer, Linear, Norm, PatchEmbedding, Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.float_layers import FloatLayers, pool_query
from clipshelf_export.graphs.inputs import add_batch, fold_pixels
from clipshelf_export.graphs.layers import Rows, Token
from clipshelf_export.graphs.plan import Plan


@dataclass(frozen=True)
class _Sum:
    """A sum of the stream with a branch, whose node comes with the norm after it.

    - `bias`: of the linear at the end of the branch; "" for none.
    """

    stream: str
    branch: str
    bias: str


class HalfLayers(FloatLayers):
    """See `layers.Layers`."""

    def __init__(self, graph: Graph, tower: Transformer, plan: Plan) -> None:
        super().__init__(graph, tower, plan)
        self._sums: dict[str, _Sum] = {}

    def norm(self, x: str, norm: Norm, name: str) -> str:
        """See `layers.Layers`. Nothing else reads `x`."""
        return self._norm(x, norm, name, keep=False)

    def stream(self, x: str) -> str:
        """See `layers.Layers`."""
        summed = self._sums.pop(x, None)
        if summed is not None:
            branch = self._graph.op("Add", summed.branch, summed.bias) if summed.bias else summed.branch
            self._graph.node("Add", [summed.stream, branch], [x])
        return x

    def patches(self, x: str, embedding: PatchEmbedding) -> str:
        """See `layers.Layers`. (pixel - 128) / 128 is exact in fp16; weights 128 times as large are not subnormal."""
        graph = self._graph
        weight, bias = fold_pixels(embedding)
        x = graph.op("Sub", graph.cast(x, TensorProto.FLOAT16), self._half_const("patches.centre", np.float32(128)))
        x = graph.op("Mul", x, self._half_const("patches.step", np.float32(1 / 128)))
        y = graph.op("MatMul", x, self._half_const("patches.weight", weight * 128))
        return graph.op("Add", y, self._half_const("patches.bias", bias))

    def site_norm(self, x: str, norm: Norm, site: str) -> Rows:
        """See `layers.Layers`."""
        return Rows(self._norm(x, norm, f"{site}_norm", keep=True))

    def site_norm_and_stream(self, x: str, norm: Norm, site: str) -> tuple[Rows, str]:
        """See `layers.Layers`."""
        y = self._norm(x, norm, f"{site}_norm", keep=False)
        return Rows(y), y

    def attention(self, rows: Rows, layer: Layer, stream: str, *, token: Token | None, keys: str) -> str:
        """See `layers.Layers`."""
        early = token is not None and not self._tower.causal
        if early or keys:
            attended = self._attend(layer.qkv, rows.x, token.select if token and early else None, keys)
        else:
            attended = self._attend_all(layer.qkv, rows.x)
        if token is not None and self._tower.causal:
            attended = token.select(attended)
        return self._add("out", stream if token is None else token.select(stream), attended, layer.out)

    def mlp(self, rows: Rows, layer: Layer, stream: str) -> str:
        """See `layers.Layers`."""
        return self._add("fc2", stream, self._activate(self._linear("fc1", rows.x, layer.fc1)), layer.fc2)

    def attention_pool(self, pool: AttentionPool, x: str) -> str:
        """See `layers.Layers`."""
        graph, width = self._graph, len(pool.probe)
        with graph.scope("pool"):
            k, v = graph.split(self._linear("kv", x, pool.qkv.columns(width, 3 * width)), 2)
            q = add_batch(graph, self._half_const("query", pool_query(pool)), x, width)
            attended = graph.op("MultiHeadAttention", q, k, v, num_heads=self._tower.heads)
            a = self._linear("out", attended, pool.out)
            hidden = self._activate(self._linear("fc1", self._norm(a, pool.norm, "fc1_norm", keep=True), pool.fc1))
            return graph.op("Add", a, self._linear("fc2", hidden, pool.fc2))

    def projection(self, name: str, x: str, linear: Linear, *, gelu: bool = False) -> str:
        """See `layers.Layers`."""
        graph = self._graph
        y = self._linear(name, graph.cast(x, TensorProto.FLOAT16), linear)
        return graph.op("Gelu", y) if gelu else y

    def token_sum(self, x: str, mask: str) -> str:
        """See `layers.Layers`. The sum is float32, since that of many tokens may leave fp16."""
        return super().token_sum(self._graph.cast(x, TensorProto.FLOAT), mask)

    def unit_norm(self, x: str) -> str:
        """See `layers.Layers`."""
        return super().unit_norm(self._graph.cast(x, TensorProto.FLOAT))

    def _norm(self, x: str, norm: Norm, name: str, *, keep: bool) -> str:
        """Add a norm; where `x` is a sum without a node, in one node with the sum, which stays readable if `keep`."""
        graph = self._graph
        gain, bias = self._half_const(f"{name}.gain", norm.gain), self._half_const(f"{name}.bias", norm.bias)
        summed = self._sums.pop(x, None)
        if summed is None:
            return graph.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=norm.epsilon)
        inputs = [summed.branch, summed.stream, gain, bias, *([summed.bias] if summed.bias else [])]
        y = graph.reserve("SkipLayerNormalization")
        outputs = [y, "", "", x] if keep else [y]
        graph.node("SkipLayerNormalization", inputs, outputs, epsilon=norm.epsilon)
        return y

    def _add(self, name: str, stream: str, x: str, linear: Linear) -> str:
        """Add the sum of the stream and a linear of `x`, without a node yet for the sum; return its name."""
        graph = self._graph
        branch = self._linear(name, x, Linear(linear.weight))
        bias = "" if linear.bias is None else self._half_const(f"{name}.bias", linear.bias)
        total = graph.reserve("Add")
        self._sums[total] = _Sum(stream, branch, bias)
        return total

    def _attend_all(self, qkv: Linear, x: str) -> str:
        """Add queries, keys and values of all tokens and their attention as one node."""
        bias = np.zeros(qkv.weight.shape[1], np.float32) if qkv.bias is None else qkv.bias
        self._graph.mark_site(self._graph.site_name("qkv"), x)
        return self._graph.op(
            "Attention",
            x,
            self._half_const("qkv.weight", qkv.weight),
            self._half_const("qkv.bias", bias),
            num_heads=self._tower.heads,
            unidirectional=int(self._tower.causal),
        )

    def _half_const(self, name: str, values: FloatArray | np.float32) -> str:
        return self._graph.const(name, np.asarray(values).astype(np.float16))

    def _to_branch(self, x: str) -> str:
        return x

    def _to_stream(self, x: str) -> str:
        return x
