"""Translate modules of transformers, which families share, to the records of `towers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.types import FloatArray

from clipshelf_export.checkpoints.image_rules import ImageRule
from clipshelf_export.checkpoints.towers import (
    Activation,
    Layer,
    Linear,
    Norm,
    PatchEmbedding,
    TokenEmbedding,
    Transformer,
)

ACTIVATIONS: Mapping[str, Activation] = {
    "quick_gelu": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}
# quick_gelu(x) = x * sigmoid(1.702 x) = silu(1.702 x) / 1.702
QUICK_GELU_ALPHA = np.float32(1.702)


def array(tensor: Any) -> FloatArray:
    """Return a parameter as an array."""
    values: FloatArray = tensor.detach().numpy()
    return values


def linear(module: Any) -> Linear:
    """Translate a `torch.nn.Linear`."""
    return Linear(array(module.weight).T, None if module.bias is None else array(module.bias))


def norm(module: Any) -> Norm:
    """Translate a `torch.nn.LayerNorm`."""
    return Norm(array(module.weight), array(module.bias), float(module.eps))


def check_tower_config(config: Any, name: str) -> None:
    """Raise ExportError where no graph can be built for a tower.

    - `config`: of one tower, with `hidden_act` and `num_hidden_layers`.
    - `name`: of the tower's part of config.json.
    """
    if config.hidden_act not in ACTIVATIONS:
        raise ExportError(f"{name}.hidden_act: expected one of {', '.join(ACTIVATIONS)}, found {config.hidden_act!r}")
    if config.num_hidden_layers < 1:
        raise ExportError(f"{name}.num_hidden_layers: expected 1 or more, found {config.num_hidden_layers}")


def pre_norm_layer(layer: Any, activation: str) -> Layer:
    """Translate a layer of CLIP or SigLIP; the alpha of quick_gelu is folded into the linears around it.

    - `layer`: the module.
    - `activation`: the name that the configuration gives the activation.
    """
    fc1, fc2 = _mlp(layer.mlp.fc1, layer.mlp.fc2, activation)
    return Layer(
        norm1=norm(layer.layer_norm1),
        qkv=Linear.packed([linear(getattr(layer.self_attn, f"{name}_proj")) for name in "qkv"]),
        out=linear(layer.self_attn.out_proj),
        norm2=norm(layer.layer_norm2),
        fc1=fc1,
        fc2=fc2,
    )


def _mlp(fc1: Any, fc2: Any, activation: str) -> tuple[Linear, Linear]:
    """Translate the linears of an MLP; the alpha of quick_gelu is folded into both."""
    first, second = linear(fc1), linear(fc2)
    if activation == "quick_gelu":
        first, second = first.scaled(QUICK_GELU_ALPHA), Linear(second.weight / QUICK_GELU_ALPHA, second.bias)
    return first, second


def post_norm_layer(layer: Any, activation: str) -> Layer:
    """Translate a layer of BERT or RoBERTa; parameters as in `pre_norm_layer`."""
    attention = layer.attention.self
    fc1, fc2 = _mlp(layer.intermediate.dense, layer.output.dense, activation)
    return Layer(
        norm1=norm(layer.attention.output.LayerNorm),
        qkv=Linear.packed([linear(getattr(attention, name)) for name in ("query", "key", "value")]),
        out=linear(layer.attention.output.dense),
        norm2=norm(layer.output.LayerNorm),
        fc1=fc1,
        fc2=fc2,
    )


def distilbert_layer(layer: Any, activation: str) -> Layer:
    """Translate a layer of DistilBERT; parameters as in `pre_norm_layer`."""
    attention = layer.attention
    fc1, fc2 = _mlp(layer.ffn.lin1, layer.ffn.lin2, activation)
    return Layer(
        norm1=norm(layer.sa_layer_norm),
        qkv=Linear.packed([linear(getattr(attention, f"{name}_lin")) for name in "qkv"]),
        out=linear(attention.out_lin),
        norm2=norm(layer.output_layer_norm),
        fc1=fc1,
        fc2=fc2,
    )


def bert_embedding(module: Any, first_position: int) -> TokenEmbedding:
    """Translate the embeddings of BERT, DistilBERT or RoBERTa for texts of one segment.

    - `first_position`: the row of the first token in the table of positions: 0 in BERT, after the padding in RoBERTa.
    """
    positions = array(module.position_embeddings.weight)[first_position:]
    types = getattr(module, "token_type_embeddings", None)
    return TokenEmbedding(
        array(module.word_embeddings.weight),
        positions if types is None else positions + array(types.weight)[0],
        norm(module.LayerNorm),
    )


def patch_linear(convolution: Any) -> Linear:
    """Translate the convolution of the patches to a linear on flattened patches. Raises ExportError but for RGB."""
    kernel = array(convolution.weight)  # (C, 3, patch, patch)
    if kernel.shape[1] != 3:
        raise ExportError(f"vision_config.num_channels: expected 3, found {kernel.shape[1]}")
    bias = None if convolution.bias is None else array(convolution.bias)
    return Linear(kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0]), bias)


def clip_vision_tower(model: Any, rule: ImageRule) -> Transformer:
    """Translate the vision tower of a `CLIPModel`, or of one of the models that share it."""
    config, tower = model.config.vision_config, model.vision_model
    embedding = PatchEmbedding(
        size=config.image_size,
        patch=config.patch_size,
        mean=rule.mean,
        std=rule.std,
        linear=patch_linear(tower.embeddings.patch_embedding),
        class_token=array(tower.embeddings.class_embedding),
        positions=array(tower.embeddings.position_embedding.weight),
        norm=norm(tower.pre_layrnorm),
    )
    return Transformer(
        embedding=embedding,
        layers=[pre_norm_layer(layer, config.hidden_act) for layer in tower.encoder.layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=False,
        causal=False,
        pooling="first",
        dim=model.config.projection_dim,
        final_norm=norm(tower.post_layernorm),
        projection=linear(model.visual_projection),
    )
