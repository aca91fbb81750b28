"""Transformer layers of the native kernels, in int8 where the plan says so and in floating point elsewhere.

A layer is six nodes where all its sites are int8: a norm that rounds, the packed linear with its attention, the output
linear with the residual, and the same for the MLP. Whatever sums floats is a kernel, because kernels sum in the same
order on every CPU. The operators of onnxruntime between them compute each element by itself, which is exact everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import AttentionPool, Layer, Linear, Norm, PatchEmbedding, Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.float_layers import pool_query
from clipshelf_export.graphs.functions import ACTIVATION_NUMBERS, Style
from clipshelf_export.graphs.inputs import PATCHES_SITE, add_batch, fold_pixels
from clipshelf_export.graphs.kernel_linears import add_float_operands, add_int8_operands
from clipshelf_export.graphs.layers import Rows, Token
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.graphs.weights import float32


class KernelLayers:
    """See `layers.Layers`.

    - `graph`: that is written.
    - `tower`: its numbers.
    - `plan`: in int8.
    """

    def __init__(self, graph: Graph, tower: Transformer, plan: Plan) -> None:
        self._graph, self._tower, self._plan, self._style = graph, tower, plan, Style.of(tower)
        self._stored_dtype = np.float16 if plan.fp16_stored else np.float32

    def norm(self, x: str, norm: Norm, name: str) -> str:
        """See `layers.Layers`."""
        return self._op("Norm", {"x": x, **self._norm_operands(norm, name)}, epsilon=norm.epsilon)

    def stream(self, x: str) -> str:
        """See `layers.Layers`."""
        return x

    def patches(self, x: str, embedding: PatchEmbedding) -> str:
        """See `layers.Layers`."""
        weight, bias = fold_pixels(embedding)
        linear = Linear(weight, bias)
        if PATCHES_SITE not in self._plan.sites:
            centred = self._graph.cast(x, TensorProto.FLOAT)
            centred = self._graph.op("Sub", centred, self._graph.const("patches.centre", np.float32(128)))
            return self._float_linear("patches", centred, linear)
        inputs, attributes = add_int8_operands(self._graph, "patches", linear, self._plan.sites[PATCHES_SITE])
        return self._op("Linear", {"x": x, **inputs}, **attributes)

    def site_norm(self, x: str, norm: Norm, site: str) -> Rows:
        """See `layers.Layers`."""
        params, name = self._params(site), f"{site}_norm"
        if params is None:
            return Rows(self.norm(x, norm, name))
        folded = params.fold_norm(norm)
        inputs = {"x": x, **self._norm_operands(folded, name), **self._channels(site, params)}
        return self._rounded("NormQuantize", inputs, (), params, epsilon=norm.epsilon)

    def site_norm_and_stream(self, x: str, norm: Norm, site: str) -> tuple[Rows, str]:
        """See `layers.Layers`. The norm is computed twice where the site has a smoothing or a shift."""
        params = self._params(site)
        if params is not None and params.transforms:
            return self.site_norm(x, norm, site), self.norm(x, norm, "residual_norm")
        stream = self.norm(x, norm, f"{site}_norm")
        return self._to_rows(stream, site), stream

    def attention(self, rows: Rows, layer: Layer, stream: str, *, token: Token | None, keys: str) -> str:
        """See `layers.Layers`.

        The smoothing and the shift of the site `out` are folded into the values: the attention of a head is a convex
        combination of its values, so that it transforms as they do.
        """
        out, qkv, params = self._params("out"), layer.qkv, self._params("qkv")
        if out is not None:
            qkv = out.fold_output(qkv, 2 * layer.out.weight.shape[0])
        if params is not None:
            attended = self._int8_attention(rows, qkv, params, token, keys)
        else:
            attended = self._to_rows(self._float_attention(rows.x, qkv, token, keys), "out")
        return self._linear("out", attended, layer.out, stream if token is None else token.select(stream))

    def mlp(self, rows: Rows, layer: Layer, stream: str) -> str:
        """See `layers.Layers`. The kernel of `fc1` rounds its rows for `fc2` where both are int8."""
        fc1, fc2 = self._params("fc1"), self._params("fc2")
        if fc1 is not None and fc2 is not None:
            hidden = self._int8_hidden(rows, layer.fc1, fc1, fc2)
        else:
            hidden = self._to_rows(self._activated_linear("fc1", rows, layer.fc1), "fc2")
        return self._linear("fc2", hidden, layer.fc2, stream)

    def attention_pool(self, pool: AttentionPool, x: str) -> str:
        """See `layers.Layers`."""
        graph, width = self._graph, len(pool.probe)
        with graph.scope("pool"):
            keys_values = self._float_linear("kv", x, pool.qkv.columns(width, 3 * width))
            query = add_batch(graph, graph.const("query", pool_query(pool)), x, width)
            attended = self._attend(query, keys_values, "")
            a = self._float_linear("out", attended, pool.out)
            h = self._activated_linear("fc1", self.site_norm(a, pool.norm, "fc1"), pool.fc1)
            return self._float_linear("fc2", h, pool.fc2, residual=a)

    def projection(self, name: str, x: str, linear: Linear, *, gelu: bool = False) -> str:
        """See `layers.Layers`."""
        if not gelu:
            return self._float_linear(name, x, linear)
        return self._float_linear(name, x, linear, suffix="Gelu", activation=ACTIVATION_NUMBERS["gelu"])

    def token_sum(self, x: str, mask: str) -> str:
        """See `layers.Layers`. The running sum adds one token after another, and masked tokens add 0."""
        graph = self._graph
        weights = graph.op("Unsqueeze", graph.cast(mask, TensorProto.FLOAT), graph.const("column", np.array([-1])))
        sums = graph.op("CumSum", graph.op("Mul", x, weights), graph.const("tokens_axis", np.int64(1)))
        return graph.op("Gather", sums, graph.const("last", np.array([-1])), axis=1)

    def unit_norm(self, x: str) -> str:
        """See `layers.Layers`."""
        return self._op("Normalize", {"x": x})

    def _int8_attention(self, rows: Rows, qkv: Linear, params: Int8Params, token: Token | None, keys: str) -> Rows:
        inputs, attributes = self._operands("qkv", rows, qkv, params)
        inputs["key_mask"] = keys
        suffixes = ["Columns"] if rows.columns else []
        if token is not None:
            inputs["position"] = token.position(rows.x)
            suffixes.append("Position")
        attributes |= self._heads()
        out = self._params("out")
        if out is None or out.outliers:
            return self._to_rows(self._op("AttentionFloat", inputs, suffixes=suffixes, **attributes), "out")
        return self._rounded("Attention", inputs, suffixes, out, **attributes)

    def _float_attention(self, x: str, qkv: Linear, token: Token | None, keys: str) -> str:
        """Add an attention whose packed linear is in floating point; in a causal one the kernel needs all queries."""
        width, causal = qkv.weight.shape[1] // 3, self._tower.causal
        keys_values = self._float_linear("kv", x, qkv.columns(width, 3 * width))
        early = x if token is None or causal else token.select(x)
        attended = self._attend(self._float_linear("q", early, qkv.columns(0, width)), keys_values, keys)
        return token.select(attended) if token is not None and causal else attended

    def _attend(self, query: str, keys_values: str, keys: str) -> str:
        inputs = {"query": query, "keys_values": keys_values, "key_mask": keys}
        return self._op("Attend", inputs, **self._heads())

    def _int8_hidden(self, rows: Rows, linear: Linear, fc1: Int8Params, fc2: Int8Params) -> Rows:
        """Add fc1, the activation, the smoothing and the shift of fc2, and the rounding."""
        inputs, attributes = self._operands("fc1", rows, linear, fc1)
        suffixes = ["Columns"] if rows.columns else []
        if fc2.shift is not None:
            inputs["shift"] = self._graph.const("fc2.shift", float32(fc2.shift))
            suffixes.append("Shift")
        if fc2.smoothing is not None:
            inputs["unspread"] = self._graph.const("fc2.unspread", float32(1 / fc2.smoothing))
            suffixes.append("Spread")
        inputs |= self._channels("fc2", fc2)
        return self._rounded("LinearQuantize", inputs, suffixes, fc2, **attributes, activation=self._activation())

    def _activated_linear(self, name: str, rows: Rows, linear: Linear) -> str:
        """Add a linear and the tower's activation: float32 rows, with the smoothing and the shift of `fc2`."""
        params = self._params(name)
        if params is None:
            y = self._float_linear(name, rows.x, linear, suffix="Activation", activation=self._activation())
        else:
            inputs, attributes = self._operands(name, rows, linear, params)
            suffixes = ["Activation", "Columns"] if rows.columns else ["Activation"]
            y = self._op("Linear", inputs, suffixes=suffixes, **attributes, activation=self._activation())
        fc2 = self._params("fc2")
        if fc2 is not None and fc2.shift is not None:
            y = self._graph.op("Sub", y, self._graph.const("fc2.shift", float32(fc2.shift)))
        if fc2 is not None and fc2.smoothing is not None:
            y = self._graph.op("Mul", y, self._graph.const("fc2.unspread", float32(1 / fc2.smoothing)))
        return y

    def _linear(self, name: str, rows: Rows, linear: Linear, residual: str) -> str:
        """Add a linear and the residual, in int8 or in floating point as the plan says."""
        params = self._params(name)
        if params is None:
            return self._float_linear(name, rows.x, linear, residual=residual)
        inputs, attributes = self._operands(name, rows, linear, params)
        inputs["residual"] = residual
        suffixes = ["Residual", "Columns"] if rows.columns else ["Residual"]
        return self._op("Linear", inputs, suffixes=suffixes, **attributes)

    def _float_linear(
        self, name: str, x: str, linear: Linear, *, residual: str = "", suffix: str = "", activation: int = 0
    ) -> str:
        inputs, attributes = add_float_operands(self._graph, name, linear, self._stored_dtype)
        inputs |= {"x": x, "residual": residual}
        suffixes = ["Residual"] if residual else [suffix] if suffix else []
        return self._op("FloatLinear", inputs, suffixes=suffixes, **attributes, activation=activation)

    def _to_rows(self, x: str, site: str) -> Rows:
        """Round float32 rows as a site needs them, by operators of onnxruntime."""
        params = self._params(site)
        if params is None:
            return Rows(x)
        channels = self._channels(site, params)
        columns = self._graph.op("Gather", x, channels["channels"], axis=-1) if channels else ""
        scale = self._graph.const(f"{site}.input_scale", float32(params.scale))
        zero = self._graph.const(f"{site}.input_zero", np.uint8(params.zero_point))
        return Rows(self._graph.op("QuantizeLinear", x, scale, zero), columns)

    def _rounded(
        self, kind: str, inputs: dict[str, str], suffixes: Sequence[str], to: Int8Params, **attributes: Any
    ) -> Rows:
        """Add an operator that rounds its rows as the site with the parameters `to` needs them."""
        outliers = ["Outliers"] if "channels" in inputs else []
        outputs = self._graph.kernel_op(
            kind,
            self._style,
            inputs,
            suffixes=[*suffixes, *outliers],
            out_scale=float(to.scale),
            out_zero=to.zero_point,
            **attributes,
        )
        return Rows(*outputs)

    def _op(self, kind: str, inputs: dict[str, str], *, suffixes: Sequence[str] = (), **attributes: Any) -> str:
        return self._graph.kernel_op(kind, self._style, inputs, suffixes=suffixes, **attributes)[0]

    def _operands(
        self, name: str, rows: Rows, linear: Linear, params: Int8Params
    ) -> tuple[dict[str, str], dict[str, Any]]:
        inputs, attributes = add_int8_operands(self._graph, name, params.fold_input(linear), params)
        return {"x": rows.x, "columns": rows.columns, **inputs}, attributes

    def _norm_operands(self, norm: Norm, name: str) -> dict[str, str]:
        gain, bias = self._graph.const(f"{name}.gain", norm.gain), self._graph.const(f"{name}.bias", norm.bias)
        return {"gain": gain, "bias": bias}

    def _channels(self, site: str, params: Int8Params) -> dict[str, str]:
        """Return the input that names the outlier channels of a site, where it has any."""
        if not params.outliers:
            return {}
        return {"channels": self._graph.const(f"{site}.outliers", np.array(params.outliers, np.int64))}

    def _heads(self) -> dict[str, Any]:
        return {"heads": self._tower.heads, "causal": int(self._tower.causal)}

    def _activation(self) -> int:
        return ACTIVATION_NUMBERS[self._tower.activation]

    def _params(self, site: str) -> Int8Params | None:
        return self._plan.sites.get(self._graph.site_name(site))
