"""Convolutional vision towers as ONNX graphs.

Convolutions compute in floating point; int8 graphs keep their weights small on disk and unfold them at session start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clipshelf.types import FloatArray
from onnx import TensorProto

from clipshelf_export.checkpoints.towers import Block, Conv, ConvNet
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.plan import Plan, linear, stored_weight


def build(tower: ConvNet, plan: Plan) -> tuple[Graph, str]:
    """The graph of a tower, and the name of its output (B, dim), unit norm."""
    graph = Graph()
    half = plan.precision == "fp16"
    pixels = graph.input("pixels", TensorProto.UINT8, ["batch", tower.size, tower.size, 3])
    x = graph.op("Cast", graph.op("Transpose", pixels, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    x = graph.op("Sub", x, graph.const("mean", np.float32(tower.mean)))
    x = graph.op("Mul", x, graph.const("unit", np.float32(1 / tower.std)))
    x = graph.op("Cast", x, to=TensorProto.FLOAT16) if half else x
    pooled = [_backbone(graph, f"backbones.{index}", x, blocks, plan) for index, blocks in enumerate(tower.backbones)]
    features = graph.op("Concat", *pooled, axis=1) if len(pooled) > 1 else pooled[0]
    y = _head(graph, tower, features, plan)
    y = graph.op("Cast", y, to=TensorProto.FLOAT) if half else y
    return graph, graph.op("LpNormalization", y, axis=-1, p=2)


def weights(tower: ConvNet) -> dict[str, FloatArray]:
    """Every weight by the name that a plan's `rounded` knows it by."""
    found = {
        f"backbones.{number}.blocks.{index}.conv{step}.weight": conv.weight
        for number, blocks in enumerate(tower.backbones)
        for index, block in enumerate(blocks)
        for step, conv in enumerate(block.convs)
    }
    linears = {"classifier": tower.classifier, "fc1": tower.fc1, "fc2": tower.fc2}
    found |= {f"{name}.weight": layer.weight for name, layer in linears.items()}
    return found | {"class_embeddings": tower.class_embeddings}


def _backbone(graph: Graph, name: str, x: str, blocks: Sequence[Block], plan: Plan) -> str:
    """Pixels (B, 3, S, S) -> the average of the last feature maps, (B, channels)."""
    for index, block in enumerate(blocks):
        with graph.scope(f"{name}.blocks.{index}"):
            y = x
            for step, conv in enumerate(block.convs):
                y = _conv(graph, f"conv{step}", y, conv, plan)
            x = graph.op("Add", x, y) if block.residual else y
    return str(graph.op("Flatten", graph.op("GlobalAveragePool", x), axis=1))


def _conv(graph: Graph, name: str, x: str, conv: Conv, plan: Plan) -> str:
    dtype = np.float16 if plan.precision == "fp16" else np.float32
    weight = stored_weight(graph, f"{name}.weight", conv.weight, plan)
    bias = graph.const(f"{name}.bias", conv.bias.astype(dtype))
    strides, pads = [conv.stride] * 2, list(conv.pads)
    y = graph.op("Conv", x, weight, bias, strides=strides, pads=pads, group=conv.groups)
    if not conv.relu6:
        return str(y)
    low, high = graph.const(f"{name}.low", dtype(0)), graph.const(f"{name}.high", dtype(6))
    return str(graph.op("Clip", y, low, high))


def _head(graph: Graph, tower: ConvNet, features: str, plan: Plan) -> str:
    """features (B, F) -> the sum of both ways, (B, D). The softmax is fp32 in every precision."""
    half = plan.precision == "fp16"
    logits = linear(graph, "classifier", features, tower.classifier, plan)
    logits = graph.op("Cast", logits, to=TensorProto.FLOAT) if half else logits
    likely = graph.op("Softmax", logits, axis=-1)
    likely = graph.op("Cast", likely, to=TensorProto.FLOAT16) if half else likely
    words = graph.op("MatMul", likely, stored_weight(graph, "class_embeddings", tower.class_embeddings, plan))
    direct = linear(graph, "fc1", features, tower.fc1, plan)
    direct = linear(graph, "fc2", graph.op("Gelu", direct), tower.fc2, plan)
    return str(graph.op("Add", words, direct))
