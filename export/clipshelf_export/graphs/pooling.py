"""The ONNX nodes that make one row of the tokens of a text or a picture."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.layers import Token


def first_token(graph: Graph) -> Token:
    """Return the first token."""
    start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", 0), ("stop", 1), ("axis", 1)))
    return Token(lambda x: graph.op("Slice", x, start, stop, axis), lambda _: graph.const("position", np.array([0])))


def last_token(graph: Graph) -> Token:
    """Return the last token."""
    end = np.iinfo(np.int64).max
    start, stop, axis = (graph.const(n, np.array([v])) for n, v in (("start", -1), ("stop", end), ("axis", 1)))

    def position(x: str) -> str:
        return graph.op("Sub", graph.op("Shape", x, start=1, end=2), graph.const("one_token", np.array([1])))

    return Token(lambda x: graph.op("Slice", x, start, stop, axis), position)


def end_token(graph: Graph, tower: Transformer) -> Token:
    """Return the token at the end of the text.

    Legacy CLIP configurations (eos_token_id 2) take the token with the largest id, which is the end of text. Others
    take the first token with the id of the end. The ids are cast to int32, which onnxruntime's ArgMax needs
    (openai/CLIP#219).
    """
    if tower.pooling == "argmax":
        marks = graph.cast("input_ids", TensorProto.INT32)
    else:
        hits = graph.op("Equal", "input_ids", graph.const("eos_id", np.int64(tower.eos_id)))
        marks = graph.cast(hits, TensorProto.INT32)
    position = graph.op("ArgMax", marks, axis=-1, keepdims=1)
    index = graph.op("Unsqueeze", position, graph.const("index_axis", np.array([-1])))
    return Token(lambda x: graph.op("GatherND", x, index, batch_dims=1), lambda _: position)


def end_token_on_cuda(graph: Graph, tower: Transformer) -> Token:
    """Return the token of `end_token` by operators that CUDA has kernels for, which its ArgMax of integers is not.

    The first of the marks has the largest weight, since weights fall from the first token to the last one.
    """
    if tower.pooling == "argmax":
        end = graph.op("ReduceMax", "input_ids", graph.const("tokens_axis", np.array([-1])), keepdims=1)
    else:
        end = graph.const("eos_id", np.int64(tower.eos_id))
    marks = graph.cast(graph.op("Equal", "input_ids", end), TensorProto.FLOAT)
    count = len(tower.embedding.positions)
    start, length = graph.const("start", np.array([0])), graph.op("Shape", "input_ids", start=1, end=2)
    weights = graph.const("weights", np.arange(count, 0, -1).astype(np.float32))
    falling = graph.op("Slice", weights, start, length, start)
    heaviest = graph.op("ReduceMax", graph.op("Mul", marks, falling), graph.const("axis", np.array([-1])), keepdims=1)
    position = graph.cast(graph.op("Sub", graph.const("count", np.float32(count)), heaviest), TensorProto.INT64)
    position = graph.op("Mod", position, graph.const("cycle", np.int64(count)))  # a text without an end: its first
    index = graph.op("Unsqueeze", position, graph.const("index_axis", np.array([-1])))
    return Token(lambda x: graph.op("GatherND", x, index, batch_dims=1), lambda _: position)


def divide_by_count(graph: Graph, total: str, mask: str) -> str:
    """Divide sums (B, 1, C) by the number of tokens whose mask (B, L) is 1; return the name of the means."""
    count = graph.op("ReduceSum", graph.cast(mask, TensorProto.FLOAT), graph.const("tokens_axis", np.array([1])))
    return graph.op("Div", total, graph.op("Unsqueeze", count, graph.const("count_axis", np.array([-1]))))
