"""Load folders of open_clip: open_clip_config.json beside the weights. The package itself is not needed.

The towers are CLIP's, SigLIP's, or a BERT or XLM-R of transformers as the text tower. Their weights are renamed and
loaded into the classes of transformers that compute the same, which then are the original model in torch.
https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/model.py has the settings and their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from clipshelf.errors import ExportError
from PIL import Image

from clipshelf_export.checkpoints import clip, open_clip_hf, siglip
from clipshelf_export.checkpoints.bert_text import bert_text_spec
from clipshelf_export.checkpoints.image_rules import ImageRule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.open_clip_files import (
    MODEL_KEYS,
    TEXT_KEYS,
    VISION_KEYS,
    check_keys,
    load_state,
    read_config,
    read_open_clip_tokenizer,
    read_state,
)
from clipshelf_export.checkpoints.open_clip_names import rename_clip, rename_siglip
from clipshelf_export.checkpoints.open_clip_rule import DEFAULT_CONTEXT, edge, image_rule
from clipshelf_export.checkpoints.pillow_transform import transform_pictures
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile, load_tokenizer
from clipshelf_export.checkpoints.torch_modules import check_tower_config, clip_vision_tower
from clipshelf_export.checkpoints.towers import Checkpoint, PaddingSide, Pooling
from clipshelf_export.checkpoints.weights import weight_hashes

# Trunks of timm for SigLIP that compute GELU by tanh; the others compute it exactly.
TANH_TRUNKS = ("vit_base_patch32_siglip_256", "vit_large_patch16_siglip_512", "vit_so400m_patch16", "vit_giantopt")
# Trunks of timm whose heads are not 64 wide; they have 16 heads.
SIXTEEN_HEADS = ("vit_so400m", "vit_giantopt")
TRUNK = "visual.trunk."
# By open_clip's `pool_type`, the class of transformers that pools its text tower so, and the name of its pooling
POOLINGS: Mapping[str, tuple[str, Pooling]] = {"argmax": ("CLIP", "argmax"), "eos": ("MetaClip2", "eos")}


def load(folder: Path, origin: Mapping[str, Any]) -> Checkpoint:
    """Load a folder of open_clip without the network.

    - `folder`: holds open_clip_config.json, the weights and the files of a tokenizer.
    - `origin`: its name, and its revision and licence where known, for the manifest.

    Returns the checkpoint. Raises ExportError naming what is missing, malformed or not supported.
    """
    config = read_config(folder)
    settings, preprocess = config["model_cfg"], config.get("preprocess_cfg") or {}
    check_keys(settings, MODEL_KEYS, "model_cfg")
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    check_keys(vision, VISION_KEYS, "vision_cfg")
    check_keys(text, TEXT_KEYS, "text_cfg")
    size = edge(vision.get("image_size", 224))
    rule = image_rule(preprocess, size)
    tokenizer = read_open_clip_tokenizer(folder, text)
    state = read_state(folder)
    source = {**origin, "weights": weight_hashes(folder)}
    licence = str(origin.get("licence", "unknown"))
    if text.get("hf_model_name"):
        made = _load_hf(folder, settings, state, rule, tokenizer)
    elif vision.get("timm_model_name"):
        made = _load_siglip(folder, settings, state, rule, tokenizer)
    else:
        made = _load_clip(folder, settings, state, rule, tokenizer)
    return replace(made, source=source, licence=licence)


def _load_clip(
    folder: Path, settings: Mapping[str, Any], state: dict[str, torch.Tensor], rule: ImageRule, file: TokenizerFile
) -> Checkpoint:
    """Load both towers of CLIP: as a `CLIPModel`, or as a `MetaClip2Model`, which pools at the end of text."""
    text = settings["text_cfg"]
    pool = text.get("pool_type", "argmax")
    if pool not in POOLINGS or text.get("no_causal_mask") or text.get("proj_bias"):
        raise ExportError(f"{folder}: text_cfg: expected CLIP's causal text tower, found pool_type {pool}")
    kind, pooling = POOLINGS[pool]
    legacy = pooling == "argmax"
    text_width = text.get("width", 512)
    untyped: Any = transformers  # only half typed
    config = getattr(untyped, f"{kind}Config")(
        projection_dim=settings["embed_dim"],
        vision_config=_vision_config(folder, settings),
        text_config={
            "hidden_size": text_width,
            "intermediate_size": int(text_width * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "max_position_embeddings": text.get("context_length", DEFAULT_CONTEXT),
            "vocab_size": text.get("vocab_size", 49408),
            "eos_token_id": clip.LEGACY_EOS if legacy else text.get("eos_id", 2),
            "bos_token_id": file.bos_id,
            "pad_token_id": file.eos_id,
            **_layer_settings(text, settings, 1e-5),
        },
    )
    clip.check_config(config)
    text_spec = clip.text_spec_of(file, config.text_config, str(folder), legacy=legacy)
    model = load_state(folder, getattr(untyped, f"{kind}Model")(config), rename_clip(state))
    reference = TorchReference(model, rule)
    return Checkpoint(
        family="open_clip",
        source={},
        licence="unknown",
        image_spec=rule.spec,
        text_spec=text_spec,
        vision=clip_vision_tower(model, rule),
        text=clip.text_tower(model, pooling),
        tokenizer_json=file.json,
        reference=reference,
        pipeline=_pipeline(folder, reference, rule, file, text_spec.max_tokens),
    )


def _load_siglip(
    folder: Path, settings: Mapping[str, Any], state: dict[str, torch.Tensor], rule: ImageRule, file: TokenizerFile
) -> Checkpoint:
    """Load a trunk of timm and SigLIP's text tower as a `SiglipModel`."""
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    name = vision["timm_model_name"]
    expected = {"timm_pool": "map", "timm_proj": "none"}
    plain = f"{TRUNK}attn_pool.latent" in state and f"{TRUNK}cls_token" not in state
    if (
        "siglip" not in name
        or not plain
        or any(vision.get(key, "") not in ("", value) for key, value in expected.items())
    ):
        raise ExportError(f"{folder}: timm_model_name: expected a plain vision transformer of SigLIP, found {name}")
    if text.get("pool_type") != "last" or not text.get("no_causal_mask") or not text.get("proj_bias"):
        raise ExportError(f"{folder}: text_cfg: expected SigLIP's text tower, found pool_type {text.get('pool_type')}")
    patch, width = state[f"{TRUNK}patch_embed.proj.weight"].shape[-1], state[f"{TRUNK}pos_embed"].shape[-1]
    layers = 1 + max(int(key.split(".")[3]) for key in state if key.startswith(f"{TRUNK}blocks."))
    text_width = text.get("width", 512)
    untyped: Any = transformers  # only half typed
    config = untyped.SiglipConfig(
        vision_config={
            "hidden_size": width,
            "intermediate_size": state[f"{TRUNK}blocks.0.mlp.fc1.weight"].shape[0],
            "num_hidden_layers": layers,
            "num_attention_heads": 16 if name.startswith(SIXTEEN_HEADS) else width // 64,
            "image_size": edge(vision.get("image_size", 224)),
            "patch_size": patch,
            "hidden_act": "gelu_pytorch_tanh" if name.startswith(TANH_TRUNKS) else "gelu",
            "layer_norm_eps": 1e-6,
        },
        text_config={
            "hidden_size": text_width,
            "intermediate_size": int(text_width * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "max_position_embeddings": text.get("context_length", DEFAULT_CONTEXT),
            "vocab_size": text.get("vocab_size", 49408),
            "projection_size": settings["embed_dim"],
            **_layer_settings(text, {}, 1e-5),
        },
    )
    clip.check_config(config)
    padding = siglip.padding_of(file, config.text_config, _padding_side(folder), str(folder))
    model = load_state(folder, untyped.SiglipModel(config), rename_siglip(state))
    reference = TorchReference(model, rule, siglip.embed_padded(padding))
    return Checkpoint(
        family="open_clip",
        source={},
        licence="unknown",
        image_spec=rule.spec,
        text_spec=siglip.text_spec_of(file, padding),
        vision=siglip.vision_tower(model, rule),
        text=siglip.text_tower(model, padding),
        tokenizer_json=file.json,
        reference=reference,
        pipeline=_pipeline(folder, reference, rule, file, padding.length, length=padding.length),
        logits=siglip.logits_of(model),
    )


def _load_hf(
    folder: Path, settings: Mapping[str, Any], state: dict[str, torch.Tensor], rule: ImageRule, file: TokenizerFile
) -> Checkpoint:
    """Load CLIP's vision tower beside a text tower of transformers."""
    untyped: Any = transformers  # only half typed
    config = untyped.CLIPVisionConfig(projection_dim=settings["embed_dim"], **_vision_config(folder, settings))
    check_tower_config(config, "vision_cfg")
    names = rename_clip({name: value for name, value in state.items() if name.startswith("visual.")})
    vision = load_state(folder, untyped.CLIPVisionModelWithProjection(config), names)
    model = open_clip_hf.load_towers(folder, settings, state, vision)
    tower = open_clip_hf.text_tower(model)
    context = len(tower.embedding.positions)
    text_spec = bert_text_spec(file, model.transformer.config, context, str(folder))
    reference = TorchReference(model, rule)
    return Checkpoint(
        family="open_clip",
        source={},
        licence="unknown",
        image_spec=rule.spec,
        text_spec=text_spec,
        vision=clip_vision_tower(model, rule),
        text=tower,
        tokenizer_json=file.json,
        reference=reference,
        pipeline=_pipeline(folder, reference, rule, file, text_spec.max_tokens),
    )


def _vision_config(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of CLIP's vision tower, as transformers names it. Raises ExportError for others."""
    vision = settings["vision_cfg"]
    if vision.get("timm_model_name") or not isinstance(vision.get("layers", 12), int):
        found = vision.get("timm_model_name") or "a ResNet"
        raise ExportError(f"{folder}: vision_cfg: expected a vision transformer of CLIP, found {found}")
    width = vision.get("width", 768)
    return {
        "hidden_size": width,
        "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
        "num_hidden_layers": vision.get("layers", 12),
        "num_attention_heads": width // vision.get("head_width", 64),
        "image_size": edge(vision.get("image_size", 224)),
        "patch_size": edge(vision.get("patch_size", 16)),
        **_layer_settings(vision, settings, 1e-5),
    }


def _layer_settings(tower: Mapping[str, Any], settings: Mapping[str, Any], epsilon: float) -> dict[str, Any]:
    """Return the activation and the epsilon of a tower, as transformers names them."""
    tanh = (tower.get("act_kwargs") or {}).get("approximate") == "tanh"
    exact = "quick_gelu" if settings.get("quick_gelu") else "gelu"
    epsilon = float((tower.get("norm_kwargs") or {}).get("eps", epsilon))
    return {"hidden_act": "gelu_pytorch_tanh" if tanh else exact, "layer_norm_eps": epsilon}


def _padding_side(folder: Path) -> PaddingSide:
    return "left" if load_tokenizer(folder).padding_side == "left" else "right"


def _pipeline(
    folder: Path,
    reference: TorchReference,
    rule: ImageRule,
    file: TokenizerFile,
    max_tokens: int,
    *,
    length: int | None = None,
) -> TransformersPipeline:
    """Return open_clip's way with its transform in Pillow, since the package needs torchvision."""
    tokenizer = load_tokenizer(folder)
    tokenizer.backend_tokenizer.normalizer = file.normalizer()

    def transform(pictures: Sequence[Image.Image]) -> torch.Tensor:
        return torch.from_numpy(transform_pictures(pictures, rule))

    return TransformersPipeline(reference, transform, tokenizer, max_tokens=max_tokens, length=length)
