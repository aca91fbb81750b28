"""Load `CLIPModel` checkpoints of transformers as two transformer towers."""

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

from clipshelf_export.checkpoints.clip_preprocessing import LEGACY_EOS, image_spec, read_processor, read_tokenizer
from clipshelf_export.checkpoints.messages import first_line
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
# quick_gelu(x) = x * sigmoid(1.702 x) = silu(1.702 x) / 1.702
QUICK_GELU_ALPHA = np.float32(1.702)
WEIGHT_FILES = ("*.safetensors", "*.bin")


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load a CLIP checkpoint without the network.

    - `folder`: holds the weights, the tokenizer and preprocessor_config.json.
    - `config`: the content of its config.json.
    - `origin`: its name, and its revision and licence where known, for the manifest.

    Returns the checkpoint. Raises ExportError naming what is missing, malformed or not supported.
    """
    settings = _parse_config(folder, config)
    tokenizer, text_spec = read_tokenizer(folder, settings.text_config)
    processor = read_processor(folder)
    model = _read_model(folder)
    mean, std = (np.array(values, np.float32) for values in (processor.image_mean, processor.image_std))
    if not processor.do_normalize:
        mean, std = np.zeros(3, np.float32), np.ones(3, np.float32)
    return Checkpoint(
        family="clip",
        source={**origin, "weights": _weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=image_spec(processor, model.config.vision_config.image_size),
        text_spec=text_spec,
        vision=_vision_tower(model, mean, std),
        text=_text_tower(model),
        tokenizer_json=tokenizer,
        reference=ClipReference(model, mean, std),
    )


class ClipReference:
    """The `CLIPModel` itself, in the precision of its weights; a `ReferenceModel`.

    - `model`: in evaluation mode.
    - `mean`, `std`: (3,), applied to pixels scaled to [0, 1].
    """

    def __init__(self, model: CLIPModel, mean: FloatArray, std: FloatArray) -> None:
        self._model, self._mean, self._std = model, mean, std

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        values = (pixels.astype(np.float32) / 255 - self._mean) / self._std
        with torch.inference_mode():
            pixel_values = torch.from_numpy(values.transpose(0, 3, 1, 2).copy()).to(self._model.dtype)
            embeds = self._model.get_image_features(pixel_values=pixel_values)
        return _to_unit_norm(embeds)

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of `input_ids` (B, L) with `mask` (B, L)."""
        with torch.inference_mode(), _default_dtype(self._model.dtype):
            embeds = self._model.get_text_features(torch.from_numpy(input_ids), torch.from_numpy(mask))
        return _to_unit_norm(embeds)

    def in_double(self) -> ClipReference:
        """Return a copy that computes in fp64."""
        return ClipReference(copy.deepcopy(self._model).double(), self._mean, self._std)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype, in which transformers makes the causal mask."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _to_unit_norm(features: Any) -> FloatArray:
    """Return the unit-norm rows of what `get_*_features` returns: in transformers 5 an object, before it the tensor."""
    embeds = features if isinstance(features, torch.Tensor) else features.pooler_output
    rows: FloatArray = torch.nn.functional.normalize(embeds, dim=-1).float().numpy()
    return rows


def _parse_config(folder: Path, config: Mapping[str, Any]) -> CLIPConfig:
    """Complete config.json with its defaults; ExportError where it is malformed or no graph can be built for it."""
    try:
        settings = CLIPConfig.from_dict(dict(config))
    except Exception as error:  # transformers raises whatever a malformed value leads to
        raise ExportError(f"{folder}/config.json: expected a CLIP configuration, found: {first_line(error)}") from error
    for name in ("vision_config", "text_config"):
        tower = getattr(settings, name)
        if tower.hidden_act not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ExportError(f"{name}.hidden_act: expected one of {known}, found {tower.hidden_act!r}")
        if tower.num_hidden_layers < 1:
            raise ExportError(f"{name}.num_hidden_layers: expected 1 or more, found {tower.num_hidden_layers}")
    return settings


def _read_model(folder: Path) -> CLIPModel:
    """Load the weights as float32; ExportError where they are incomplete, of another shape or not finite."""
    try:
        model, report = CLIPModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # safetensors and pickle raise errors of their own for a damaged file
        raise ExportError(f"{folder}: expected the weights of a CLIPModel, found: {first_line(error)}") from error
    for kind, problem in (("missing_keys", "missing"), ("mismatched_keys", "of another shape than in config.json")):
        # transformers reports names, or tuples of a name and both shapes
        names = sorted(key if isinstance(key, str) else key[0] for key in report[kind])
        if names:
            count = f"{len(names)} {problem}: {names[0]}"
            raise ExportError(f"{folder}: expected the weights of a CLIPModel, found {count}")
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise ExportError(f"{folder}: expected finite weights, found NaN or infinity in {name}")
    checked: CLIPModel = model.float().eval()
    return checked


def _vision_tower(model: CLIPModel, mean: FloatArray, std: FloatArray) -> Transformer:
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


def _text_tower(model: CLIPModel) -> Transformer:
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
    """Convert one layer; the alpha of quick_gelu is folded into the linears before and after it."""
    fc1, fc2 = _linear(layer.mlp.fc1), _linear(layer.mlp.fc2)
    if activation == "quick_gelu":
        fc1, fc2 = fc1.scaled(QUICK_GELU_ALPHA), Linear(fc2.weight / QUICK_GELU_ALPHA, fc2.bias)
    return Layer(
        norm1=_norm(layer.layer_norm1),
        qkv=Linear.packed([_linear(getattr(layer.self_attn, f"{name}_proj")) for name in "qkv"]),
        out=_linear(layer.self_attn.out_proj),
        norm2=_norm(layer.layer_norm2),
        fc1=fc1,
        fc2=fc2,
    )


def _linear(module: Any) -> Linear:
    bias = None if module.bias is None else module.bias.detach().numpy()
    return Linear(module.weight.detach().numpy().T, bias)


def _norm(module: Any) -> Norm:
    return Norm(module.weight.detach().numpy(), module.bias.detach().numpy(), float(module.eps))


def _weight_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of weights by its name."""
    files = sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern))
    return {path.name: FileRecord.of(path).sha256 for path in files}
