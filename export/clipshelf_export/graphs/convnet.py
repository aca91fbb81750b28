"""Convolutional vision towers as ONNX graphs.

Convolutions compute in floating point in every precision. Int8 graphs store weights as int8 only to be small on disk; a
session converts them at its start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Block, Conv, ConvNet
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.linears import add_linear, add_weight
from clipshelf_export.graphs.plan import Plan


def build(tower: ConvNet, plan: Plan) -> tuple[Graph, str]:
    """Build the graph of a tower as `plan` says; return it and the name of its output, unit-norm (B, D)."""
    graph = Graph()
    half = plan.precision == "fp16"
    pixels = graph.input("pixels", TensorProto.UINT8, ["batch", tower.size, tower.size, 3])
    x = graph.cast(graph.op("Transpose", pixels, perm=[0, 3, 1, 2]), TensorProto.FLOAT)
    x = graph.op("Sub", x, graph.const("mean", np.float32(tower.mean)))
    x = graph.op("Mul", x, graph.const("unit", np.float32(1 / tower.std)))
    x = graph.cast(x, TensorProto.FLOAT16) if half else x
    pooled = [
        _add_backbone(graph, f"backbones.{index}", x, blocks, plan) for index, blocks in enumerate(tower.backbones)
    ]
    features = graph.op("Concat", *pooled, axis=1) if len(pooled) > 1 else pooled[0]
    y = _add_head(graph, tower, features, plan)
    y = graph.cast(y, TensorProto.FLOAT) if half else y
    return graph, graph.op("LpNormalization", y, axis=-1, p=2)


def weights_by_name(tower: ConvNet) -> dict[str, FloatArray]:
    """Return every weight of a tower by the name that it has in a plan's `int8_stored`."""
    convs = {
        f"backbones.{number}.blocks.{index}.conv{step}.weight": conv.weight
        for number, blocks in enumerate(tower.backbones)
        for index, block in enumerate(blocks)
        for step, conv in enumerate(block.convs)
    }
    linears = {"classifier": tower.classifier, "fc1": tower.fc1, "fc2": tower.fc2}
    weights = {f"{name}.weight": linear.weight for name, linear in linears.items()}
    return {**convs, **weights, "class_embeddings": tower.class_embeddings}


def _add_backbone(graph: Graph, name: str, x: str, blocks: Sequence[Block], plan: Plan) -> str:
    """Add the blocks on normalised pixels (B, 3, S, S); return the average of the last feature maps (B, channels)."""
    for index, block in enumerate(blocks):
        with graph.scope(f"{name}.blocks.{index}"):
            y = x
            for step, conv in enumerate(block.convs):
                y = _add_conv(graph, f"conv{step}", y, conv, plan)
            x = graph.op("Add", x, y) if block.residual else y
    return graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1)


def _add_conv(graph: Graph, name: str, x: str, conv: Conv, plan: Plan) -> str:
    dtype = np.float16 if plan.precision == "fp16" else np.float32
    weight = add_weight(graph, f"{name}.weight", conv.weight, plan)
    bias = graph.const(f"{name}.bias", conv.bias.astype(dtype))
    strides, pads = [conv.stride] * 2, list(conv.pads)
    y = graph.op("Conv", x, weight, bias, strides=strides, pads=pads, group=conv.groups)
    if not conv.relu6:
        return y
    low, high = graph.const(f"{name}.low", dtype(0)), graph.const(f"{name}.high", dtype(6))
    return graph.op("Clip", y, low, high)


def _add_head(graph: Graph, tower: ConvNet, features: str, plan: Plan) -> str:
    """Add both terms of the head on features (B, F); return their sum (B, D). The softmax is always fp32."""
    half = plan.precision == "fp16"
    logits = add_linear(graph, "classifier", features, tower.classifier, plan)
    logits = graph.cast(logits, TensorProto.FLOAT) if half else logits
    probabilities = graph.op("Softmax", logits, axis=-1)
    probabilities = graph.cast(probabilities, TensorProto.FLOAT16) if half else probabilities
    class_embeddings = add_weight(graph, "class_embeddings", tower.class_embeddings, plan)
    by_class = graph.op("MatMul", probabilities, class_embeddings)
    direct = add_linear(graph, "fc1", features, tower.fc1, plan)
    direct = add_linear(graph, "fc2", graph.op("Gelu", direct), tower.fc2, plan)
    return graph.op("Add", by_class, direct)
