"""The first rows of a tower as ONNX nodes: patches of pixels, or tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import PatchEmbedding, TokenEmbedding
from clipshelf_export.graphs.builder import Graph, float32
from clipshelf_export.graphs.plan import Plan, quantise_weight

PATCHES, TOKENS = "patches", "tokens"


def embed_patches(graph: Graph, embedding: PatchEmbedding, plan: Plan) -> str:
    """pixels uint8 (B, S, S, 3) -> the class token and the patches, (B, 1 + n * n, D), n patches a side.

    Pixels beyond the last whole patch are cut, as a convolution of that stride does.
    """
    size, patch = embedding.size, embedding.patch
    n, width = size // patch, embedding.class_token.shape[0]
    x = graph.input("pixels", TensorProto.UINT8, ["batch", size, size, 3])
    if n * patch != size:
        zero, stop, axes = np.array([0, 0]), np.array([n * patch] * 2), np.array([1, 2])
        x = graph.op("Slice", x, graph.const("from", zero), graph.const("to", stop), graph.const("axes", axes))
    x = graph.op("Reshape", x, graph.const("grid", np.array([-1, n, patch, n, patch * 3])))
    x = graph.op("Transpose", x, perm=[0, 1, 3, 2, 4])
    x = graph.op("Reshape", x, graph.const("patches", np.array([-1, n * n, patch * patch * 3])))
    x = graph.op("Add", _project_patches(graph, embedding, x, plan), graph.const("positions", embedding.positions[1:]))
    first = graph.const("class_token", (embedding.class_token + embedding.positions[0])[None, None])
    batch = graph.op("Shape", "pixels", start=0, end=1)
    shape = graph.op("Concat", batch, graph.const("token_shape", np.array([1, width])), axis=0)
    x = graph.op("Concat", graph.op("Expand", first, shape), x, axis=1)
    if embedding.norm is None:
        return str(x)
    constants = graph.const("norm.gain", embedding.norm.gain), graph.const("norm.bias", embedding.norm.bias)
    return str(graph.op("LayerNormalization", x, *constants, axis=-1, epsilon=embedding.norm.epsilon))


def _project_patches(graph: Graph, embedding: PatchEmbedding, x: str, plan: Plan) -> str:
    """uint8 patches (B, n * n, patch * patch * 3) through the linear, fp32 (B, n * n, D).

    Pixels are centred on 128: exact in every precision, and rounding errors of the weights meet small numbers.
    """
    weight, bias = fold_pixels(embedding)
    if PATCHES in plan.sites:
        quantised, scale = quantise_weight(weight)
        inputs = [x, graph.const("patches.weight", quantised), graph.const("patches.input_scale", np.float32(1))]
        inputs += [graph.const("patches.scale", scale), graph.const("patches.input_zero", np.uint8(128)), ""]
        return str(graph.op("MatMulIntegerToFloat", *inputs, graph.const("patches.bias", bias)))
    x = graph.op("Sub", graph.op("Cast", x, to=TensorProto.FLOAT), graph.const("patches.centre", np.float32(128)))
    if not plan.halves:
        y = graph.op("MatMul", x, graph.const("patches.weight", weight))
    else:
        # (pixel - 128) / 128 is exact in fp16, and keeps the weights clear of its subnormals
        half = graph.const("patches.weight", (weight * 128).astype(np.float16))
        x = graph.op("Mul", x, graph.const("patches.step", np.float32(1 / 128)))
        if plan.precision == "fp16":
            y = graph.op("MatMul", graph.op("Cast", x, to=TensorProto.FLOAT16), half)
            y = graph.op("Cast", y, to=TensorProto.FLOAT)
        else:
            y = graph.op("MatMul", x, graph.op("Cast", half, to=TensorProto.FLOAT))
    return str(graph.op("Add", y, graph.const("patches.bias", bias)))


def fold_pixels(embedding: PatchEmbedding) -> tuple[FloatArray, FloatArray]:
    """Weight and bias of the patch linear for integers pixel - 128: (pixel / 255 - mean) / std is folded in."""
    pixels = embedding.patch * embedding.patch
    weight = embedding.linear.weight.astype(np.float64)
    folded = weight / (255 * np.tile(embedding.std.astype(np.float64), pixels))[:, None]
    centre = np.tile((128 / 255 - embedding.mean.astype(np.float64)) / embedding.std, pixels)
    bias = centre @ weight + (0 if embedding.linear.bias is None else embedding.linear.bias)
    return float32(folded), float32(bias)


def embed_tokens(graph: Graph, embedding: TokenEmbedding, plan: Plan) -> str:
    """input_ids int64 (B, L) -> tokens plus positions, (B, L, D); the norm is left to the layers."""
    ids = graph.input("input_ids", TensorProto.INT64, ["batch", "tokens"])
    if TOKENS in plan.sites:
        rows, scale, spread = quantise_rows(embedding.tokens)
        x = graph.op("Cast", graph.op("Gather", graph.const("tokens", rows), ids), to=TensorProto.FLOAT)
        step = graph.op("Gather", graph.const("tokens.scale", scale[:, None]), ids)
        x = graph.op("Mul", graph.op("Mul", x, step), graph.const("tokens.spread", spread))
    elif plan.halves:
        x = graph.op("Gather", graph.const("tokens", embedding.tokens.astype(np.float16)), ids)
        x = graph.op("Cast", x, to=TensorProto.FLOAT)
    else:
        x = graph.op("Gather", graph.const("tokens", embedding.tokens), ids)
    start, axis = graph.const("first", np.array([0])), graph.const("axis", np.array([0]))
    length = graph.op("Shape", ids, start=1, end=2)
    return str(
        graph.op("Add", x, graph.op("Slice", graph.const("positions", embedding.positions), start, length, axis))
    )


def quantise_rows(rows: FloatArray) -> tuple[np.ndarray[Any, np.dtype[np.int8]], FloatArray, FloatArray]:
    """rows (V, D) ~ int8 (V, D) * scale (V,) * spread (D,): each row and each channel has its own size."""
    size = np.sqrt(np.einsum("vd,vd->d", rows, rows) / len(rows))
    spread = float32(np.where(size > 0, size, 1))
    even = rows / spread
    peak = np.maximum(even.max(1), -even.min(1))
    scale = float32(np.where(peak > 0, peak / 127, 1))
    even /= scale[:, None]
    return np.rint(even, out=even).astype(np.int8), scale, spread
