"""The ONNX nodes that turn inputs into the first rows of a transformer: patches of pixels, or tokens.

The patches and the tokens are sites of a plan without calibration, since their inputs are whole numbers.
"""

from __future__ import annotations

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Padding, PatchEmbedding, TokenEmbedding
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.layers import Layers
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.graphs.weights import float32, quantise_table

PATCHES_SITE, TOKENS_SITE = "patches", "tokens"


def add_patch_embedding(graph: Graph, embedding: PatchEmbedding, layers: Layers, plan: Plan) -> str:
    """Add the input `pixels`, uint8 (B, S, S, 3), and its rows.

    Pixels beyond the last whole patch are cut off, as by a convolution whose stride is the patch.

    Returns the name of the tensor (B, 1 + n * n, C) of the stream: the class token, if there is one, and n * n patches.
    """
    dtype = np.float16 if plan.fp16_stream else np.float32
    size, patch = embedding.size, embedding.patch
    n = size // patch
    x = graph.input("pixels", TensorProto.UINT8, ["batch", size, size, 3])
    if n * patch != size:
        start, stop, axes = np.array([0, 0]), np.array([n * patch] * 2), np.array([1, 2])
        x = graph.op("Slice", x, graph.const("from", start), graph.const("to", stop), graph.const("axes", axes))
    x = graph.op("Reshape", x, graph.const("grid", np.array([-1, n, patch, n, patch * 3])))
    x = graph.op("Transpose", x, perm=[0, 1, 3, 2, 4])
    x = graph.op("Reshape", x, graph.const("patches", np.array([-1, n * n, patch * patch * 3])))
    token = embedding.class_token
    positions = embedding.positions if token is None else embedding.positions[1:]
    x = graph.op("Add", layers.patches(x, embedding), graph.const("positions", positions.astype(dtype)))
    if token is not None:
        first = graph.const("class_token", (token + embedding.positions[0]).astype(dtype)[None, None])
        x = graph.op("Concat", add_batch(graph, first, "pixels", len(token)), x, axis=1)
    return x if embedding.norm is None else layers.norm(x, embedding.norm, "norm")


def add_batch(graph: Graph, row: str, like: str, width: int) -> str:
    """Repeat `row` (1, 1, `width`) for each item of the tensor `like` (B, ...); return the name of (B, 1, `width`)."""
    batch = graph.op("Shape", like, start=0, end=1)
    shape = graph.op("Concat", batch, graph.const("token_shape", np.array([1, width])), axis=0)
    return graph.op("Expand", row, shape)


def fold_pixels(embedding: PatchEmbedding) -> tuple[FloatArray, FloatArray]:
    """Return weight and bias of the patch linear for inputs pixel - 128, with (pixel / 255 - mean) / std folded in."""
    pixels = embedding.patch * embedding.patch
    weight = embedding.linear.weight.astype(np.float64)
    folded = weight / (255 * np.tile(embedding.std.astype(np.float64), pixels))[:, None]
    centre = np.tile((128 / 255 - embedding.mean.astype(np.float64)) / embedding.std, pixels)
    bias = centre @ weight + (0 if embedding.linear.bias is None else embedding.linear.bias)
    return float32(folded), float32(bias)


def add_token_embedding(graph: Graph, embedding: TokenEmbedding, plan: Plan) -> str:
    """Add the input `input_ids`, int64 (B, L), and its rows: tokens plus positions, without the embedding's norm.

    Returns the name of the tensor (B, L, C) of the stream.
    """
    dtype = np.float16 if plan.fp16_stream else np.float32
    ids = graph.input("input_ids", TensorProto.INT64, ["batch", "tokens"])
    if embedding.padding is not None:
        ids = add_padding(graph, ids, embedding.padding)
    if TOKENS_SITE in plan.sites:
        rows, row_scale, channel_scale = quantise_table(embedding.tokens)
        x = graph.cast(graph.op("Gather", graph.const("tokens", rows), ids), TensorProto.FLOAT)
        scale = graph.op("Gather", graph.const("tokens.scale", row_scale[:, None]), ids)
        x = graph.op("Mul", graph.op("Mul", x, scale), graph.const("tokens.spread", channel_scale))
    elif plan.fp16_stored:
        x = graph.op("Gather", graph.const("tokens", embedding.tokens.astype(np.float16)), ids)
        x = x if plan.fp16_stream else graph.cast(x, TensorProto.FLOAT)
    else:
        x = graph.op("Gather", graph.const("tokens", embedding.tokens), ids)
    start, axis = graph.const("first", np.array([0])), graph.const("axis", np.array([0]))
    length = graph.op("Shape", ids, start=1, end=2)
    positions = graph.op("Slice", graph.const("positions", embedding.positions.astype(dtype)), start, length, axis)
    return graph.op("Add", x, positions)


def add_padding(graph: Graph, ids: str, padding: Padding) -> str:
    """Pad ids (B, L), L at most the length of `padding`; return the name of the padded ids (B, length).

    Padding on the left is padding on the right, turned to the right by its length.
    """
    length = graph.const("length", np.array([padding.length]))
    missing = graph.op("Sub", length, graph.op("Shape", ids, start=1, end=2))
    ends = graph.op("Concat", graph.const("no_padding", np.zeros(3, np.int64)), missing, axis=0)
    pad_id = graph.const("pad_id", np.int64(padding.pad_id))
    padded = graph.op("Pad", ids, ends, pad_id)
    if padding.side == "right":
        return padded
    is_pad = graph.cast(graph.op("Equal", padded, pad_id), TensorProto.INT64)
    count = graph.op("ReduceSum", is_pad, graph.const("padding_axis", np.array([1])), keepdims=1)
    turned = graph.op("Sub", graph.const("steps", np.arange(padding.length)[None]), count)
    return graph.op("GatherElements", padded, graph.op("Mod", turned, length), axis=1)
