"""Hugging Face `CLIPModel` checkpoints as two transformer towers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clipshelf.artifact import FileRecord, ImageSpec, Resample, TextSpec
from clipshelf.errors import ExportError
from clipshelf.types import FloatArray, Pixels, TokenIds
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from clipshelf_export.towers import (
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

ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quick_gelu", "gelu": "gelu"}
RESAMPLES: dict[int, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
WEIGHTS = ("*.safetensors", "*.bin")


def load(folder: Path, config: Mapping[str, Any], source: Mapping[str, Any]) -> Checkpoint:
    """Read the checkpoint in `folder`; ExportError says what is missing or unknown. Never touches the network."""
    for tower in ("vision_config", "text_config"):
        _check_activation(tower, config.get(tower) or {})
    tokenizer, text_spec = _read_tokenizer(folder, config)
    processor = _read_processor(folder)
    model = _read_model(folder)
    image = _image_spec(processor, model.config.vision_config.image_size)
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
    """The torch model, fp32."""

    def __init__(self, model: CLIPModel, mean: FloatArray, std: FloatArray) -> None:
        self._model, self._mean, self._std = model, mean, std

    def images(self, pixels: Pixels) -> FloatArray:
        """Unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        values = (pixels.astype(np.float32) / 255 - self._mean) / self._std
        with torch.inference_mode():
            rows = self._model.get_image_features(pixel_values=torch.from_numpy(values.transpose(0, 3, 1, 2).copy()))
        return _unit(rows)

    def texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Unit-norm embeddings (B, D) of input_ids (B, L) with mask (B, L)."""
        with torch.inference_mode():
            rows = self._model.get_text_features(torch.from_numpy(input_ids), torch.from_numpy(mask))
        return _unit(rows)


def _unit(rows: torch.Tensor) -> FloatArray:
    unit: FloatArray = torch.nn.functional.normalize(rows, dim=-1).numpy()
    return unit


def _check_activation(tower: str, config: Mapping[str, Any]) -> None:
    name = config.get("hidden_act", "quick_gelu")
    if name not in ACTIVATIONS:
        raise ExportError(f"{tower}.hidden_act: expected one of {', '.join(ACTIVATIONS)}, found {name!r}")


def _read_model(folder: Path) -> CLIPModel:
    try:
        model, report = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ExportError(f"{folder}: expected the weights of a CLIPModel, found: {_first_line(error)}") from error
    absent = sorted(report["missing_keys"]) + sorted(str(key[0]) for key in report["mismatched_keys"])
    if absent:
        raise ExportError(f"{folder}: expected the weights of a CLIPModel, found {len(absent)} missing: {absent[0]}")
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise ExportError(f"{folder}: expected finite weights, found NaN or infinity in {name}")
    checked: CLIPModel = model.float().eval()
    return checked


def _read_tokenizer(folder: Path, config: Mapping[str, Any]) -> tuple[str, TextSpec]:
    """tokenizer.json, made from vocab.json and merges.txt if need be, and the limits of the text tower."""
    names = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise ExportError(f"{folder}: expected tokenizer.json, or vocab.json and merges.txt, found neither")
    try:
        auto: Any = AutoTokenizer  # only half typed
        tokenizer = auto.from_pretrained(folder, local_files_only=True, use_fast=True)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # tokenizers raises bare Exception on malformed files
        raise ExportError(f"{folder}: expected a fast tokenizer, found: {_first_line(error)}") from error
    backend.no_padding()
    backend.no_truncation()
    limit = int((config.get("text_config") or {}).get("max_position_embeddings", 77))
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    ids["pad"] = ids["eos"] if ids["pad"] is None else ids["pad"]
    for name, value in ids.items():
        if value is None:
            raise ExportError(f"{folder}: expected a tokenizer with a {name} token, found none")
    spec = TextSpec(min(limit, tokenizer.model_max_length), ids["pad"], ids["bos"], ids["eos"], attention_mask=False)
    return backend.to_str(), spec


def _read_processor(folder: Path) -> CLIPImageProcessor:
    try:
        return CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f"{folder}: expected preprocessor_config.json, found: {_first_line(error)}") from error


def _image_spec(processor: CLIPImageProcessor, size: int) -> ImageSpec:
    """The resize rule; ExportError if the pipeline differs from resize, centre crop, scale by 1/255, normalise."""
    if not processor.do_resize or not processor.do_rescale or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise ExportError("preprocessor_config.json: expected do_resize and do_rescale by 1/255, found otherwise")
    if processor.resample not in RESAMPLES:
        raise ExportError(f"preprocessor_config.json: resample: expected 1, 2 or 3, found {processor.resample}")
    resample, crop, resize = RESAMPLES[processor.resample], processor.crop_size, processor.size
    square = {"height": size, "width": size}
    if "shortest_edge" in resize and processor.do_center_crop and dict(crop) == square:
        return ImageSpec(size, "shortest", int(resize["shortest_edge"]), resample)
    if dict(resize) == square and (not processor.do_center_crop or dict(crop) == square):
        return ImageSpec(size, "squash", size, resample)
    found = f"size {dict(resize)}, crop {dict(crop) if processor.do_center_crop else 'off'}"
    raise ExportError(f"preprocessor_config.json: expected a way to {size} x {size} pixels, found {found}")


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
        layers=[_layer(layer) for layer in tower.encoder.layers],
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
    pooling: Pooling = "argmax" if config.eos_token_id == 2 else "eos"
    tables = tower.embeddings
    return Transformer(
        embedding=TokenEmbedding(
            tables.token_embedding.weight.detach().numpy(), tables.position_embedding.weight.detach().numpy(), None
        ),
        layers=[_layer(layer) for layer in tower.encoder.layers],
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


def _layer(layer: Any) -> Layer:
    parts = [_linear(getattr(layer.self_attn, f"{name}_proj")) for name in "qkv"]
    weight = np.concatenate([part.weight for part in parts], 1)
    bias = np.concatenate([part.bias for part in parts if part.bias is not None])
    return Layer(
        norm1=_norm(layer.layer_norm1),
        qkv=Linear(weight, bias),
        out=_linear(layer.self_attn.out_proj),
        norm2=_norm(layer.layer_norm2),
        fc1=_linear(layer.mlp.fc1),
        fc2=_linear(layer.mlp.fc2),
    )


def _linear(module: Any) -> Linear:
    bias = None if module.bias is None else module.bias.detach().numpy()
    return Linear(module.weight.detach().numpy().T, bias)


def _norm(module: Any) -> Norm:
    return Norm(module.weight.detach().numpy(), module.bias.detach().numpy(), float(module.eps))


def _weight_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of weights."""
    files = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
    return {path.name: FileRecord.of(path).sha256 for path in files}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
