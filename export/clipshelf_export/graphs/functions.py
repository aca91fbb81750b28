"""The operators of the native kernels as functions of the model, for an onnxruntime without the kernels.

A node of the domain `clipshelf` runs the kernel of its name where the library is registered. Elsewhere onnxruntime
inlines the function of the same name that the model carries, folds its unpacking of the weights at the start of the
session, and runs operators of its own. docs/kernels.md lists the operators with their inputs and attributes.

A function has one body, so the optional inputs that a node has are part of the name: `LinearQuantizeColumnsShift` has
outlier columns and a shift. What is the same in a whole tower, as its activation, changes the body alone. ONNX has
overloads of functions for this, but onnxruntime 1.20 ignores them silently and runs another function's body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, helper

from clipshelf_export.checkpoints.towers import Transformer

DOMAIN = "clipshelf"
OPSET = 18
MICROSOFT_DOMAIN = "com.microsoft"
# The kernel of each activation, and its number in an attribute of a node. QuickGelu with alpha 1 is silu, and
# onnxruntime computes it faster than with another alpha (measured in docs/design-notes/export.md). FastGelu is the
# approximation of GELU by tanh.
ACTIVATION_KERNELS = {"silu": "QuickGelu", "gelu": "Gelu", "gelu_tanh": "FastGelu"}
ACTIVATION_NUMBERS = {"silu": 1, "gelu": 2, "gelu_tanh": 3}
# Above this many tokens QAttention is no faster than MultiHeadAttention, and it holds the attention weights of a whole
# batch in memory.
QATTENTION_MAX_TOKENS = 300

_OPERANDS = ("x", "panels", "sums", "scale", "bias")
# The inputs of each operator. Names are those of docs/kernels.md.
INPUTS: dict[str, tuple[str, ...]] = {
    "Norm": ("x", "gain", "bias"),
    "NormQuantize": ("x", "gain", "bias", "channels"),
    "Linear": (*_OPERANDS, "residual", "columns", "column_weight"),
    "LinearQuantize": (*_OPERANDS, "columns", "column_weight", "shift", "unspread", "channels"),
    "Attention": (*_OPERANDS, "columns", "column_weight", "key_mask", "position"),
    "AttentionFloat": (*_OPERANDS, "columns", "column_weight", "key_mask", "position"),
    "FloatLinear": ("x", "panels", "bias", "residual"),
    "Attend": ("query", "keys_values", "key_mask"),
    "Normalize": ("x",),
}
_WEIGHT = {"weight_shape": AttributeProto.INTS}
_ROUNDING = {"out_scale": AttributeProto.FLOAT, "out_zero": AttributeProto.INT}
_INT8 = {"zero": AttributeProto.INT, **_WEIGHT}
_HEADS = {"heads": AttributeProto.INT, "causal": AttributeProto.INT}
# The attributes of each operator, and their types.
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Norm": {"epsilon": AttributeProto.FLOAT},
    "NormQuantize": {"epsilon": AttributeProto.FLOAT, **_ROUNDING},
    "Linear": {**_INT8, "activation": AttributeProto.INT},
    "LinearQuantize": {**_INT8, **_ROUNDING, "activation": AttributeProto.INT},
    "Attention": {**_INT8, **_HEADS, **_ROUNDING},
    "AttentionFloat": {**_INT8, **_HEADS},
    "FloatLinear": {**_WEIGHT, "activation": AttributeProto.INT},
    "Attend": _HEADS,
    "Normalize": {},
}


@dataclass(frozen=True)
class Style:
    """What the functions of a tower have in common. A graph of linears alone needs none of it.

    - `activation`: of its MLPs.
    - `causal`: whether its attention is.
    - `takes_mask`: whether its attention has a mask of keys.
    - `position_per_text`: whether the pooled token has a position in each text; otherwise one position for all.
    - `short`: whether it has so few tokens that QAttention is worthwhile.
    """

    activation: str = "silu"
    causal: bool = False
    takes_mask: bool = False
    position_per_text: bool = False
    short: bool = False

    @classmethod
    def of(cls, tower: Transformer) -> Style:
        """Return the style of a tower."""
        return cls(
            activation=tower.activation,
            causal=tower.causal,
            takes_mask=tower.takes_mask,
            position_per_text=tower.pooling in ("argmax", "eos"),
            short=len(tower.embedding.positions) <= QATTENTION_MAX_TOKENS,
        )

    def uses_qattention(self, *, columns: bool, position: bool) -> bool:
        """Tell whether one QAttention node computes an int8 linear and the attention.

        This saves the split between them. The kernel works on one picture or sentence at a time, takes no mask and no
        outlier channels. Where a tower is not causal, a single query is cheaper.
        """
        return self.short and not self.takes_mask and not columns and (self.causal or not position)


def make_function(
    operator: str, suffixes: tuple[str, ...], style: Style, opset: int, *, padded: bool
) -> onnx.FunctionProto:
    """Return the function of a node.

    - `operator`: a key of `INPUTS`.
    - `suffixes`: the optional inputs and outputs that the node has.
    - `style`: of the tower.
    - `opset`: of the standard operators, that of the graph. Linears need 13, the others 18.
    - `padded`: whether the panels of a weight may hold more inputs and outputs than it has.
    """
    body = _Body(operator, suffixes, style, padded=padded)
    _WRITERS[operator](body)
    return body.function(opset)


class _Body:
    """The nodes of one function. Names of tensors are local to it."""

    def __init__(self, operator: str, suffixes: tuple[str, ...], style: Style, *, padded: bool) -> None:
        self.operator, self.suffixes, self.style, self._padded = operator, suffixes, style, padded
        self._nodes: list[onnx.NodeProto] = []
        self._outputs = ["y", "outliers"] if "Outliers" in suffixes else ["y"]

    def has(self, suffix: str) -> bool:
        return suffix in self.suffixes

    def function(self, opset: int) -> onnx.FunctionProto:
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT_DOMAIN, 1)]
        name = self.operator + "".join(self.suffixes)
        inputs, attributes = INPUTS[self.operator], list(ATTRIBUTES[self.operator])
        return helper.make_function(DOMAIN, name, inputs, self._outputs, self._nodes, opsets, attributes)

    def op(self, kind: str, *inputs: str, outputs: tuple[str, ...] = (), refer: str = "", **attributes: Any) -> str:
        """Add a node of ONNX; return the name of its first output.

        - `outputs`: their names, by default one new name.
        - `refer`: attributes that take the value of an attribute of the function, as "name=name other=other".
        """
        names = outputs or (f"t{len(self._nodes)}",)
        node = helper.make_node(kind, list(inputs), list(names), **attributes)
        for pair in refer.split():
            own, _, of_function = pair.partition("=")
            kind_of_value = ATTRIBUTES[self.operator][of_function]
            node.attribute.append(AttributeProto(name=own, type=kind_of_value, ref_attr_name=of_function))
        self._nodes.append(node)
        return names[0]

    def contrib(self, kind: str, *inputs: str, refer: str = "", **attributes: Any) -> str:
        """Add a node of onnxruntime's own operators; return the name of its output."""
        return self.op(kind, *inputs, refer=refer, domain=MICROSOFT_DOMAIN, **attributes)

    def ints(self, *values: int) -> str:
        return self.op("Constant", value_ints=list(values))

    def uint8(self, attribute: str) -> str:
        """Return a uint8 scalar with the value of an int attribute."""
        return self.op("Cast", self.op("Constant", refer=f"value_int={attribute}"), to=TensorProto.UINT8)

    def one(self) -> str:
        return self.op("Constant", value_float=1.0)

    def float_weight(self) -> str:
        """Return the weight (inputs, outputs) of panels (panels, inputs, 64) in floating point."""
        return self._cut(self.op("Flatten", self.op("Transpose", "panels", perm=[1, 0, 2]), axis=1))

    def int8_weight(self) -> str:
        """Return the weight (inputs, outputs) of int8 panels.

        onnxruntime moves one axis of 4 bytes or of single bytes by vector instructions, and two axes at once one byte
        after another. Every node writes all weights once more, so there are as few as can be.
        """
        outputs = self.op("Flatten", self.op("Transpose", "panels", perm=[0, 2, 1, 3]), axis=2)
        return self._cut(self.op("Transpose", outputs, perm=[1, 0]))

    def _cut(self, weight: str) -> str:
        """Leave out the inputs and outputs that fill the panels."""
        if not self._padded:
            return weight
        return self.op("Slice", weight, self.ints(0, 0), self.op("Constant", refer="value_ints=weight_shape"))

    def linear(
        self, operands: tuple[str, str, str, str], columns: str = "columns", weight: str = "column_weight"
    ) -> str:
        """Add an int8 linear and its outlier columns.

        - `operands`: x, weight, scale and bias.
        - `columns`, `weight`: of the outlier columns, used where the function has them.
        """
        x, matrix, scale, bias = operands
        y = self.contrib("MatMulIntegerToFloat", x, matrix, self.one(), scale, self.uint8("zero"), "", bias)
        return self.op("Add", y, self.op("MatMul", columns, weight)) if self.has("Columns") else y

    def activate(self, x: str, activation: str) -> str:
        if activation == "silu":
            return self.contrib("QuickGelu", x, alpha=1.0)
        return self.contrib(ACTIVATION_KERNELS[activation], x)

    def select(self, x: str) -> str:
        """Take the token at `position` out of (B, L, C): (B, 1, C)."""
        if self.style.position_per_text:
            return self.op("GatherND", x, self.op("Unsqueeze", "position", self.ints(-1)), batch_dims=1)
        return self.op("Gather", x, "position", axis=1)

    def put_out(self, y: str) -> None:
        self.op("Identity", y, outputs=("y",))

    def put_out_rounded(self, y: str) -> None:
        """Make `y`, rounded to uint8, the output, and its outlier channels the second one."""
        if self.has("Outliers"):
            self.op("Gather", y, "channels", outputs=("outliers",), axis=-1)
        scale = self.op("Constant", refer="value_float=out_scale")
        self.op("QuantizeLinear", y, scale, self.uint8("out_zero"), outputs=("y",))


def _norm(body: _Body) -> str:
    return body.op("LayerNormalization", "x", "gain", "bias", axis=-1, refer="epsilon=epsilon")


def _write_linear(body: _Body) -> None:
    y = body.linear(("x", body.int8_weight(), "scale", "bias"))
    y = body.activate(y, body.style.activation) if body.has("Activation") else y
    body.put_out(body.op("Add", "residual", y) if body.has("Residual") else y)


def _write_linear_quantize(body: _Body) -> None:
    y = body.activate(body.linear(("x", body.int8_weight(), "scale", "bias")), body.style.activation)
    y = body.op("Sub", y, "shift") if body.has("Shift") else y
    body.put_out_rounded(body.op("Mul", y, "unspread") if body.has("Spread") else y)


def _attention(body: _Body) -> str:
    style, position = body.style, body.has("Position")
    weight = body.int8_weight()
    if style.uses_qattention(columns=body.has("Columns"), position=position):
        operands = ("x", weight, "bias", body.one(), "scale", "", body.uint8("zero"))
        y = body.contrib("QAttention", *operands, refer="num_heads=heads unidirectional=causal")
    elif position and not style.causal:
        return _attention_of_one(body, weight)
    else:
        packed = body.linear(("x", weight, "scale", "bias"))
        body.op("Split", packed, outputs=("q", "k", "v"), axis=-1, num_outputs=3)
        y = _multi_head_attention(body, "q", "k", "v")
    return body.select(y) if position else y


def _attention_of_one(body: _Body, weight: str) -> str:
    """Add the attention of one query of each sequence: the queries of the other tokens are not computed."""
    parts = {"w": weight, "s": "scale", "b": "bias"} | ({"c": "column_weight"} if body.has("Columns") else {})
    for name, tensor in parts.items():
        outputs = tuple(f"{name}{part}" for part in "qkv")
        body.op("Split", tensor, outputs=outputs, axis=-1, num_outputs=3)
        body.op("Concat", *outputs[1:], outputs=(f"{name}kv",), axis=-1)
    columns = body.select("columns") if body.has("Columns") else ""
    query = body.linear((body.select("x"), "wq", "sq", "bq"), columns, "cq")
    packed = body.linear(("x", "wkv", "skv", "bkv"), weight="ckv")
    body.op("Split", packed, outputs=("k", "v"), axis=-1, num_outputs=2)
    return _multi_head_attention(body, query, "k", "v")


def _multi_head_attention(body: _Body, q: str, k: str, v: str) -> str:
    mask = ("", "key_mask") if body.style.takes_mask else ()
    refer = "num_heads=heads unidirectional=causal"
    return body.contrib("MultiHeadAttention", q, k, v, *mask, refer=refer)


def _write_float_linear(body: _Body) -> None:
    weight = body.op("Cast", body.float_weight(), to=TensorProto.FLOAT)
    y = body.op("Add", body.op("MatMul", "x", weight), "bias")
    y = body.activate(y, body.style.activation) if body.has("Activation") else y
    y = body.activate(y, "gelu") if body.has("Gelu") else y
    body.put_out(body.op("Add", "residual", y) if body.has("Residual") else y)


def _write_attend(body: _Body) -> None:
    body.op("Split", "keys_values", outputs=("k", "v"), axis=-1, num_outputs=2)
    body.put_out(_multi_head_attention(body, "query", "k", "v"))


_WRITERS: dict[str, Callable[[_Body], None]] = {
    "Norm": lambda body: body.put_out(_norm(body)),
    "NormQuantize": lambda body: body.put_out_rounded(_norm(body)),
    "Linear": _write_linear,
    "LinearQuantize": _write_linear_quantize,
    "Attention": lambda body: body.put_out_rounded(_attention(body)),
    "AttentionFloat": lambda body: body.put_out(_attention(body)),
    "FloatLinear": _write_float_linear,
    "Attend": _write_attend,
    "Normalize": lambda body: body.put_out(body.op("LpNormalization", "x", axis=-1, p=2)),
}
