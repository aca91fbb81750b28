"""The files of a folder of open_clip: its settings, its weights and its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from clipshelf.errors import ExportError

from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.open_clip_rule import CONFIG, DEFAULT_CONTEXT
from clipshelf_export.checkpoints.open_clip_texts import repaired
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile, cleaned, read_tokenizer
from clipshelf_export.checkpoints.weights import checked_model, read_tensors

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
# The settings of each tower that are read; any other one must be absent, null, false or 0.
VISION_KEYS = frozenset(
    {
        *("image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio", "act_kwargs", "norm_kwargs"),
        *("timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj", "patch_dropout"),
        *("timm_drop", "timm_drop_path"),
    }
)
TEXT_KEYS = frozenset(
    {
        *("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "act_kwargs", "norm_kwargs"),
        *("no_causal_mask", "pool_type", "proj_bias", "eos_id", "pad_id"),
        *("hf_tokenizer_name", "tokenizer_kwargs"),
        *("hf_model_name", "hf_model_pretrained", "hf_pooler_type", "hf_proj_type"),
    }
)
MODEL_KEYS = frozenset(
    {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias"}
)


def read_config(folder: Path) -> dict[str, Any]:
    """Read open_clip_config.json. Raises ExportError where it is malformed or incomplete."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        settings = config["model_cfg"]
        complete = {"embed_dim", "vision_cfg", "text_cfg"} <= settings.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path}: expected an object with model_cfg, found: {first_line(error)}") from error
    if not complete:
        raise ExportError(f"{path}: expected embed_dim, vision_cfg and text_cfg in model_cfg, found {[*settings]}")
    return dict(config)


def check_keys(settings: Mapping[str, Any], known: frozenset[str], name: str) -> None:
    """Raise ExportError for a setting that changes the model and that this loader does not know."""
    for key in settings.keys() - known:
        if settings[key] not in (None, False, 0, "", "learnable", "tok", "linear", "default"):
            raise ExportError(f"{CONFIG}: {name}.{key}: expected no such setting, found {settings[key]!r}")


def read_open_clip_tokenizer(folder: Path, text: Mapping[str, Any]) -> TokenizerFile:
    """Read the tokenizer of the folder, with the cleaning and the longest text that the settings ask for."""
    try:
        file = replace(read_tokenizer(folder), max_tokens=int(text.get("context_length", DEFAULT_CONTEXT)))
    except ExportError as error:
        raise ExportError(
            f"{error} (open_clip reads CLIP's tokenizer from its own package; that of openai/clip-vit-base-patch32 is "
            "the same, and {name} is the one that the settings name)".replace("{name}", _tokenizer_name(text))
        ) from error
    if text.get("hf_tokenizer_name") is None and text.get("hf_model_name") is None:
        return repaired(file)  # CLIP's tokenizer cleans white space and case by itself
    options = dict(text.get("tokenizer_kwargs") or {})
    clean = options.pop("clean", "whitespace")
    for key, value in options.items():
        if value:
            raise ExportError(f"{CONFIG}: tokenizer_kwargs.{key}: expected no such setting, found {value!r}")
    return repaired(cleaned(file, clean))


def _tokenizer_name(text: Mapping[str, Any]) -> str:
    return str(text.get("hf_tokenizer_name") or "none")


def read_state(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights by their names in open_clip. Raises ExportError where there are none, or they are damaged."""
    state: dict[str, Any] = read_tensors(folder, WEIGHT_FILES)
    state = state.get("state_dict", state)
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_state(folder: Path, model: Any, state: dict[str, torch.Tensor]) -> Any:
    """Fill `model` with weights. Raises ExportError where one is missing, left over or of another shape."""
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        found = str(error).splitlines()[-1].strip()
        raise ExportError(f"{folder}: expected weights of the shapes in {CONFIG}, found {found}") from error
    missing = [name for name in report.missing_keys if not name.endswith(("position_ids", "logit_bias"))]
    for names, problem in ((missing, "missing"), (report.unexpected_keys, "unknown")):
        if names:
            raise ExportError(
                f"{folder}: expected the weights of an open_clip model, found {len(names)} {problem}: {names[0]}"
            )
    return checked_model(model, str(folder))
