"""Hugging Face `CLIPModel` checkpoints as two transformer towers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clipshelf.errors import ExportError
from clipshelf.files import FileRecord
from clipshelf.types import FloatArray, Pixels, TokenIds
from transformers import CLIPConfig, CLIPModel

from clipshelf_export.checkpoints.clip_preprocessing import (
    LEGACY_EOS,
    brief,
    image_spec,
    read_processor,
    read_tokenizer,
)
from clipshelf_export.checkpoints.towers import (
    Activation,
    Checkpoint,
    Layer,
    Linear,
    Norm,
    PatchEmbedding,
    Pooling,
    TokenEmbedding,
    Transformer,
)

ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "silu", "gelu": "gelu"}
# quick_gelu(x) = x * sigmoid(1.702 x), which is silu(1.702 x) / 1.702
QUICK = np.float32(1.702)
WEIGHTS = ("*.safetensors", "*.bin")


def load(folder: Path, config: Mapping[str, Any], source: Mapping[str, Any]) -> Checkpoint:
    """Read the checkpoint in `folder`; ExportError says what is missing or unknown. Never touches the network."""
    settings = _read_settings(folder, config)
    tokenizer, text_spec = read_tokenizer(folder, settings.text_config)
    processor = read_processor(folder)
    model = _read_model(folder)
    image = image_spec(processor, model.config.vision_config.image_size)
    mean, std = (np.array(v, np.float32) for v in (processor.image_mean, processor.image_std))
    if not processor.do_normalize:
        mean, std = np.zeros(3, np.float32), np.ones(3, np.float32)
    return Checkpoint(
        family="clip",
        source={**source, "weights": _weight_hashes(folder)},
        licence=str(source.get("licence", "unknown")),
        image=image,
        text_spec=text_spec,
        vision=_vision(model, mean, std),
        text=_text(model),
        tokenizer_json=tokenizer,
        reference=ClipReference(model, mean, std),
    )


class ClipReference:
    """The torch model in its own precision."""

    def __init__(self, model: CLIPModel, mean: FloatArray, std: FloatArray) -> None:
        self._model, self._mean, self._std = model, mean, std

    def images(self, pixels: Pixels) -> FloatArray:
        """Unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        values = (pixels.astype(np.float32) / 255 - self._mean) / self._std
        with torch.inference_mode():
            pixel_values = torch.from_numpy(values.transpose(0, 3, 1, 2).copy()).to(self._model.dtype)
            rows = self._model.get_image_features(pixel_values=pixel_values)
        return _unit(rows)

    def texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Unit-norm embeddings (B, D) of input_ids (B, L) with mask (B, L)."""
        with torch.inference_mode(), _default(self._model.dtype):
            rows = self._model.get_text_features(torch.from_numpy(input_ids), torch.from_numpy(mask))
        return _unit(rows)

    def double(self) -> ClipReference:
        """A copy that computes in fp64."""
        return ClipReference(copy.deepcopy(self._model).double(), self._mean, self._std)


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """What torch makes numbers in, and so transformers its causal mask."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _unit(rows: torch.Tensor) -> FloatArray:
    unit: FloatArray = torch.nn.functional.normalize(rows, dim=-1).float().numpy()
    return unit


def _read_settings(folder: Path, config: Mapping[str, Any]) -> CLIPConfig:
    """config.json with its defaults; ExportError if it is malformed, or describes what no graph can be built for."""
    try:
        settings = CLIPConfig.from_dict(dict(config))
    except Exception as error:  # whatever a malformed value leads to
        raise ExportError(f"{folder}/config.json: expected a CLIP configuration, found: {brief(error)}") from error
    for name in ("vision_config", "text_config"):
        tower = getattr(settings, name)
        if tower.hidden_act not in ACTIVATIONS:
            found = repr(tower.hidden_act)
            raise ExportError(f"{name}.hidden_act: expected one of {', '.join(ACTIVATIONS)}, found {found}")
        if tower.num_hidden_layers < 1:
            raise ExportError(f"{name}.num_hidden_layers: expected 1 or more, found {tower.num_hidden_layers}")
    return settings


def _read_model(folder: Path) -> CLIPModel:
    try:
        model, report = CLIPModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # safetensors and pickle each have their own for a damaged file
        raise ExportError(f"{folder}: expected the weights of a CLIPModel, found: {brief(error)}") from error
    for kind, problem in (("missing_keys", "missing"), ("mismatched_keys", "of another shape than in config.json")):
        # transformers gives names, or names with both shapes
        names = sorted(key if isinstance(key, str) else key[0] for key in report[kind])
        if names:
            count = f"{len(names)} {problem}: {names[0]}"
            raise ExportError(f"{folder}: expected the weights of a CLIPModel, found {count}")
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise ExportError(f"{folder}: expected finite weights, found NaN or infinity in {name}")
    checked: CLIPModel = model.float().eval()
    return checked


def _vision(model: CLIPModel, mean: FloatArray, std: FloatArray) -> Transformer:
    config, tower = model.config.vision_config, model.vision_model
    kernel = tower.embeddings.patch_embedding.weight.detach().numpy()  # (D, 3, patch, patch)
    if kernel.shape[1] != 3:
        raise ExportError(f"vision_config.num_channels: expected 3, found {kernel.shape[1]}")
    embedding = PatchEmbedding(
        size=config.image_size,
        patch=config.patch_size,
        mean=mean,
        std=std,
        linear=Linear(kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])),
        class_token=tower.embeddings.class_embedding.detach().numpy(),
        positions=tower.embeddings.position_embedding.weight.detach().numpy(),
        norm=_norm(tower.pre_layrnorm),
    )
    return Transformer(
        embedding=embedding,
        layers=[_layer(layer, config.hidden_act) for layer in tower.encoder.layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=False,
        causal=False,
        pooling="first",
        dim=model.config.projection_dim,
        final_norm=_norm(tower.post_layernorm),
        projection=_linear(model.visual_projection),
    )


def _text(model: CLIPModel) -> Transformer:
    config, tower = model.config.text_config, model.text_model
    pooling: Pooling = "argmax" if config.eos_token_id == LEGACY_EOS else "eos"
    tables = tower.embeddings
    return Transformer(
        embedding=TokenEmbedding(
            tables.token_embedding.weight.detach().numpy(), tables.position_embedding.weight.detach().numpy(), None
        ),
        layers=[_layer(layer, config.hidden_act) for layer in tower.encoder.layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=False,
        causal=True,
        pooling=pooling,
        dim=model.config.projection_dim,
        eos_id=int(config.eos_token_id or 0),
        final_norm=_norm(tower.final_layer_norm),
        projection=_linear(model.text_projection),
    )


def _layer(layer: Any, activation: str) -> Layer:
    """One layer; where `activation` is quick_gelu, its 1.702 goes into the linears on both sides."""
    parts = [_linear(getattr(layer.self_attn, f"{name}_proj")) for name in "qkv"]
    weight = np.concatenate([part.weight for part in parts], 1)
    bias = np.concatenate([part.bias for part in parts if part.bias is not None])
    fc1, fc2 = _linear(layer.mlp.fc1), _linear(layer.mlp.fc2)
    if activation == "quick_gelu":
        fc1, fc2 = _scaled(fc1, QUICK), Linear(fc2.weight / QUICK, fc2.bias)
    return Layer(
        norm1=_norm(layer.layer_norm1),
        qkv=Linear(weight, bias),
        out=_linear(layer.self_attn.out_proj),
        norm2=_norm(layer.layer_norm2),
        fc1=fc1,
        fc2=fc2,
    )


def _scaled(linear: Linear, factor: np.float32) -> Linear:
    return Linear(linear.weight * factor, None if linear.bias is None else linear.bias * factor)


def _linear(module: Any) -> Linear:
    bias = None if module.bias is None else module.bias.detach().numpy()
    return Linear(module.weight.detach().numpy().T, bias)


def _norm(module: Any) -> Norm:
    return Norm(module.weight.detach().numpy(), module.bias.detach().numpy(), float(module.eps))


def _weight_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of weights."""
    files = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
    return {path.name: FileRecord.of(path).sha256 for path in files}
