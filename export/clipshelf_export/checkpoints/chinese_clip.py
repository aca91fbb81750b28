"""Load `ChineseCLIPModel` checkpoints of transformers: a BERT beside the vision tower of CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import ChineseCLIPConfig, ChineseCLIPModel

from clipshelf_export.checkpoints.bert_text import bert_text_spec, bert_tower
from clipshelf_export.checkpoints.clip import parse_config
from clipshelf_export.checkpoints.image_rules import read_image_rule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import read_tokenizer
from clipshelf_export.checkpoints.torch_modules import clip_vision_tower, linear
from clipshelf_export.checkpoints.towers import Checkpoint
from clipshelf_export.checkpoints.weights import read_model, weight_hashes


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load a Chinese CLIP checkpoint without the network; parameters and errors as in `clip.load`."""
    settings = parse_config(folder, config, ChineseCLIPConfig)
    tokenizer, text = read_tokenizer(folder), settings.text_config
    text_spec = bert_text_spec(tokenizer, text, text.max_position_embeddings, str(folder))
    rule = read_image_rule(folder, settings.vision_config.image_size, "ChineseCLIPImageProcessor")
    model = read_model(folder, ChineseCLIPModel)
    reference = TorchReference(model, rule, embed_texts)
    dim = model.config.projection_dim
    return Checkpoint(
        family="chinese_clip",
        source={**origin, "weights": weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=rule.spec,
        text_spec=text_spec,
        vision=clip_vision_tower(model, rule),
        text=bert_tower(model.text_model, text, dim=dim, projection=linear(model.text_projection)),
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TransformersPipeline.of(folder, reference, text_spec.max_tokens),
    )


def embed_texts(model: Any, input_ids: torch.Tensor, mask: torch.Tensor) -> Any:
    """Embed texts by the first token; `get_text_features` of transformers 4.57 fails (transformers#42351)."""
    states = model.text_model(input_ids=input_ids, attention_mask=mask).last_hidden_state
    return model.text_projection(states[:, 0])
