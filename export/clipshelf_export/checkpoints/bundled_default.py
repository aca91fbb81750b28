"""The embedded default's checkpoint, as `models/recipe` writes it: two EfficientNet-Lites with a head, and MiniLM.

config.json  model.safetensors  tokenizer.json  reference.npz
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from clipshelf.errors import ExportError
from clipshelf.files import FileRecord
from clipshelf.model.artifact import ImageSpec, TextSpec
from clipshelf.types import FloatArray, Pixels, TokenIds
from safetensors.numpy import load_file
from torch import Tensor

from clipshelf_export.checkpoints.towers import (
    Block,
    Checkpoint,
    Conv,
    ConvNet,
    Layer,
    Linear,
    Norm,
    TokenEmbedding,
    Transformer,
)

FAMILY = "clipshelf-default"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "reference.npz")
Weights = Mapping[str, FloatArray]


def load(folder: Path, config: Mapping[str, Any], source: Mapping[str, Any]) -> Checkpoint:
    """Read the checkpoint in `folder`; ExportError names what is missing, or what the original computes otherwise."""
    for name in FILES:
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: expected {', '.join(FILES)}, found no {name}")
    weights = load_file(folder / "model.safetensors")
    text, image = config["text"], config["image"]
    vision = _vision(weights, config)
    reference = DefaultReference(weights, config, vision)
    reference.check(folder / "reference.npz")
    size = int(image["size"])
    return Checkpoint(
        family=FAMILY,
        source={**source, "weights": {"model.safetensors": FileRecord.of(folder / "model.safetensors").sha256}},
        licence=str(config.get("licence", "Apache-2.0")),
        image=ImageSpec(size, image["resize"], size, image["resample"]),
        text_spec=TextSpec(text["max_tokens"], text["pad_id"], text["bos_id"], text["eos_id"], attention_mask=True),
        vision=vision,
        text=_text(weights, text),
        tokenizer_json=(folder / "tokenizer.json").read_text(encoding="utf-8"),
        reference=reference,
    )


class DefaultReference:
    """The original in torch, fp32; `check` holds it against the outputs that came with the checkpoint."""

    def __init__(self, weights: Weights, config: Mapping[str, Any], vision: ConvNet) -> None:
        shape = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps")
        vocabulary = len(weights["text.embeddings.word_embeddings.weight"])
        hugging: Any = transformers  # only half typed
        sizes = hugging.BertConfig(vocab_size=vocabulary, **{name: config["text"][name] for name in shape})
        bert = hugging.BertModel(sizes, add_pooling_layer=False)
        state = {name.removeprefix("text."): torch.from_numpy(v) for name, v in weights.items() if name[:5] == "text."}
        bert.load_state_dict(state, strict=False)
        self._bert, self._vision = bert.eval(), vision

    @torch.inference_mode()
    def images(self, pixels: Pixels) -> FloatArray:
        """Unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        net = self._vision
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - net.mean) / net.std
        f = torch.cat([_torch_backbone(blocks, x) for blocks in net.backbones], 1)
        likely = torch.softmax(_torch_linear(net.classifier, f), -1)
        direct = _torch_linear(net.fc2, F.gelu(_torch_linear(net.fc1, f)))
        rows: FloatArray = F.normalize(likely @ torch.from_numpy(net.class_embeddings) + direct, dim=-1).numpy()
        return rows

    @torch.inference_mode()
    def texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Unit-norm embeddings (B, D) of input_ids (B, L) with mask (B, L)."""
        keep = torch.from_numpy(mask)
        states = self._bert(input_ids=torch.from_numpy(input_ids), attention_mask=keep).last_hidden_state
        rows: FloatArray = F.normalize((states * keep.unsqueeze(-1)).sum(1), dim=-1).numpy()
        return rows

    def double(self) -> None:
        """None: `check` has recorded outputs to compare with."""

    def check(self, path: Path) -> None:
        """Compare with reference.npz: pixels, image_embeds, input_ids, attention_mask, text_embeds."""
        with np.load(path) as saved:
            pairs = {
                "image_embeds": self.images(saved["pixels"]),
                "text_embeds": self.texts(saved["input_ids"], saved["attention_mask"]),
            }
            for name, found in pairs.items():
                difference = float(np.abs(found - saved[name]).max())
                if difference > 1e-5:
                    raise ExportError(f"{path}: {name}: expected agreement to 1e-5, found a difference of {difference}")


def _torch_backbone(blocks: Sequence[Block], x: Tensor) -> Tensor:
    for block in blocks:
        y = x
        for conv in block.convs:
            y = _torch_conv(conv, y)
        x = x + y if block.residual else y
    return x.mean((2, 3))


def _torch_conv(conv: Conv, x: Tensor) -> Tensor:
    top, left, bottom, right = conv.pads
    weight, bias = torch.from_numpy(conv.weight), torch.from_numpy(conv.bias)
    x = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, conv.stride, groups=conv.groups)
    return F.relu6(x) if conv.relu6 else x


def _torch_linear(linear: Linear, x: Tensor) -> Tensor:
    assert linear.bias is not None
    return x @ torch.from_numpy(linear.weight) + torch.from_numpy(linear.bias)


def _vision(weights: Weights, config: Mapping[str, Any]) -> ConvNet:
    """The convolutions and the head; `beta`, a factor on the logits, is folded in."""
    head, image = config["head"], config["image"]
    classifier = _linear(weights, "head.classifier")
    return ConvNet(
        size=int(image["size"]),
        mean=float(image["mean"]),
        std=float(image["std"]),
        backbones=[[_block(weights, block) for block in net["blocks"]] for net in config["vision"]["backbones"]],
        classifier=_scaled(classifier, np.float32(head["beta"])),
        class_embeddings=weights["head.classes"],
        fc1=_linear(weights, "head.fc1"),
        fc2=_linear(weights, "head.fc2"),
        dim=int(config["embedding_dim"]),
    )


def _block(weights: Weights, block: Mapping[str, Any]) -> Block:
    convs = []
    for conv in block["convs"]:
        weight, bias = (weights[f"vision.{conv['index']}.{part}"] for part in ("weight", "bias"))
        top, left, bottom, right = conv["pads"]
        relu6 = conv["activation"] == "relu6"
        convs.append(Conv(weight, bias, conv["stride"], conv["groups"], (top, left, bottom, right), relu6))
    return Block(convs, block["residual"])


def _text(weights: Weights, config: Mapping[str, Any]) -> Transformer:
    epsilon, embeddings = float(config["layer_norm_eps"]), "text.embeddings."
    positions = weights[f"{embeddings}position_embeddings.weight"][: config["max_tokens"]]
    types = weights[f"{embeddings}token_type_embeddings.weight"]
    return Transformer(
        embedding=TokenEmbedding(
            weights[f"{embeddings}word_embeddings.weight"],
            positions + types[0],
            _norm(weights, f"{embeddings}LayerNorm", epsilon),
        ),
        layers=[_layer(weights, f"text.encoder.layer.{i}.", epsilon) for i in range(config["num_hidden_layers"])],
        heads=config["num_attention_heads"],
        activation="gelu",
        post_norm=True,
        causal=False,
        pooling="mean",
        dim=config["hidden_size"],
    )


def _layer(weights: Weights, prefix: str, epsilon: float) -> Layer:
    parts = [_linear(weights, f"{prefix}attention.self.{name}") for name in ("query", "key", "value")]
    biases = [part.bias for part in parts if part.bias is not None]
    return Layer(
        norm1=_norm(weights, f"{prefix}attention.output.LayerNorm", epsilon),
        qkv=Linear(np.concatenate([part.weight for part in parts], 1), np.concatenate(biases)),
        out=_linear(weights, f"{prefix}attention.output.dense"),
        norm2=_norm(weights, f"{prefix}output.LayerNorm", epsilon),
        fc1=_linear(weights, f"{prefix}intermediate.dense"),
        fc2=_linear(weights, f"{prefix}output.dense"),
    )


def _linear(weights: Weights, name: str) -> Linear:
    return Linear(weights[f"{name}.weight"].T, weights[f"{name}.bias"])


def _scaled(linear: Linear, factor: np.float32) -> Linear:
    assert linear.bias is not None
    return Linear(linear.weight * factor, linear.bias * factor)


def _norm(weights: Weights, name: str, epsilon: float) -> Norm:
    return Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)
