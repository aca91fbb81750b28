"""Load the checkpoint of the bundled default model, which `models/recipe` writes.

It has two EfficientNet-Lites with a head as its vision tower and MiniLM as its text tower. Its folder holds:

    config.json         the shapes, and how inputs are prepared
    model.safetensors   the weights of both towers
    tokenizer.json      the `tokenizers` file
    reference.npz       inputs and the embeddings that the original model computed for them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

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
# Largest difference of a component of an embedding from reference.npz.
REFERENCE_TOLERANCE = 1e-5

Weights: TypeAlias = Mapping[str, FloatArray]


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load the checkpoint, and compare its torch model with the recorded embeddings.

    - `folder`: holds the four files that the module's head lists.
    - `config`: the content of its config.json.
    - `origin`: its name, for the manifest.

    Returns the checkpoint. Raises ExportError where a file is missing or the embeddings differ from the recorded ones.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise ExportError(f"{folder}: expected {', '.join(FILES)}, found no {name}")
    weights = load_file(folder / "model.safetensors")
    text, image = config["text"], config["image"]
    vision = _vision_tower(weights, config)
    reference = DefaultReference(weights, config, vision)
    reference.check(folder / "reference.npz")
    size = int(image["size"])
    return Checkpoint(
        family=FAMILY,
        source={**origin, "weights": {"model.safetensors": FileRecord.of(folder / "model.safetensors").sha256}},
        licence=str(config.get("licence", "Apache-2.0")),
        image_spec=ImageSpec(size, image["resize"], size, image["resample"]),
        text_spec=TextSpec(text["max_tokens"], text["pad_id"], text["bos_id"], text["eos_id"], attention_mask=True),
        vision=vision,
        text=_text_tower(weights, text),
        tokenizer_json=(folder / "tokenizer.json").read_text(encoding="utf-8"),
        reference=reference,
    )


class DefaultReference:
    """The original model in torch, fp32; a `ReferenceModel`.

    - `weights`: every tensor of the checkpoint by its name.
    - `config`: the content of config.json.
    - `vision`: the vision tower, made from the same weights.
    """

    def __init__(self, weights: Weights, config: Mapping[str, Any], vision: ConvNet) -> None:
        untyped: Any = transformers  # only half typed
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps")
        shape = {name: config["text"][name] for name in names}
        vocabulary_size = len(weights["text.embeddings.word_embeddings.weight"])
        bert = untyped.BertModel(untyped.BertConfig(vocab_size=vocabulary_size, **shape), add_pooling_layer=False)
        prefix = "text."
        state = {
            name.removeprefix(prefix): torch.from_numpy(v) for name, v in weights.items() if name.startswith(prefix)
        }
        bert.load_state_dict(state, strict=False)
        self._bert, self._vision = bert.eval(), vision

    @torch.inference_mode()
    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        net = self._vision
        x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - net.mean) / net.std
        features = torch.cat([_run_backbone(blocks, x) for blocks in net.backbones], 1)
        probabilities = torch.softmax(_run_linear(net.classifier, features), -1)
        direct = _run_linear(net.fc2, F.gelu(_run_linear(net.fc1, features)))
        by_class = probabilities @ torch.from_numpy(net.class_embeddings)
        embeds: FloatArray = F.normalize(by_class + direct, dim=-1).numpy()
        return embeds

    @torch.inference_mode()
    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of `input_ids` (B, L) with `mask` (B, L)."""
        attention_mask = torch.from_numpy(mask)
        states = self._bert(input_ids=torch.from_numpy(input_ids), attention_mask=attention_mask).last_hidden_state
        embeds: FloatArray = F.normalize((states * attention_mask.unsqueeze(-1)).sum(1), dim=-1).numpy()
        return embeds

    def in_double(self) -> None:
        """Return None: `check` compares with recorded embeddings instead."""

    def check(self, path: Path) -> None:
        """Compare this model with the recorded embeddings.

        - `path`: reference.npz with the arrays pixels, image_embeds, input_ids, attention_mask and text_embeds.

        Raises ExportError where a component differs by more than `REFERENCE_TOLERANCE`.
        """
        with np.load(path) as recorded:
            computed = {
                "image_embeds": self.embed_images(recorded["pixels"]),
                "text_embeds": self.embed_texts(recorded["input_ids"], recorded["attention_mask"]),
            }
            for name, embeds in computed.items():
                difference = float(np.abs(embeds - recorded[name]).max())
                if difference > REFERENCE_TOLERANCE:
                    raise ExportError(f"{path}: {name}: expected agreement to 1e-5, found a difference of {difference}")


def _run_backbone(blocks: Sequence[Block], x: Tensor) -> Tensor:
    """Compute the average (B, channels) of the last feature maps in torch."""
    for block in blocks:
        y = x
        for conv in block.convs:
            y = _run_conv(conv, y)
        x = x + y if block.residual else y
    return x.mean((2, 3))


def _run_conv(conv: Conv, x: Tensor) -> Tensor:
    top, left, bottom, right = conv.pads
    weight, bias = torch.from_numpy(conv.weight), torch.from_numpy(conv.bias)
    x = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, conv.stride, groups=conv.groups)
    return F.relu6(x) if conv.relu6 else x


def _run_linear(linear: Linear, x: Tensor) -> Tensor:
    y = x @ torch.from_numpy(linear.weight)
    return y if linear.bias is None else y + torch.from_numpy(linear.bias)


def _vision_tower(weights: Weights, config: Mapping[str, Any]) -> ConvNet:
    """Read the convolutions and the head; the factor `beta` of the logits is folded into the classifier."""
    head, image = config["head"], config["image"]
    return ConvNet(
        size=int(image["size"]),
        mean=float(image["mean"]),
        std=float(image["std"]),
        backbones=[[_block(weights, block) for block in net["blocks"]] for net in config["vision"]["backbones"]],
        classifier=_linear(weights, "head.classifier").scaled(np.float32(head["beta"])),
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


def _text_tower(weights: Weights, config: Mapping[str, Any]) -> Transformer:
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
    attention = f"{prefix}attention."
    return Layer(
        norm1=_norm(weights, f"{attention}output.LayerNorm", epsilon),
        qkv=Linear.packed([_linear(weights, f"{attention}self.{name}") for name in ("query", "key", "value")]),
        out=_linear(weights, f"{attention}output.dense"),
        norm2=_norm(weights, f"{prefix}output.LayerNorm", epsilon),
        fc1=_linear(weights, f"{prefix}intermediate.dense"),
        fc2=_linear(weights, f"{prefix}output.dense"),
    )


def _linear(weights: Weights, name: str) -> Linear:
    return Linear(weights[f"{name}.weight"].T, weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, epsilon: float) -> Norm:
    return Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)
