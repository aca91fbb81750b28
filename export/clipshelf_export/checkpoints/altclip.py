"""Load `AltCLIPModel` checkpoints of transformers: an XLM-R beside the vision tower of CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AltCLIPConfig, AltCLIPModel

from clipshelf_export.checkpoints.bert_text import bert_text_spec, bert_tower
from clipshelf_export.checkpoints.clip import parse_config
from clipshelf_export.checkpoints.image_rules import read_image_rule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import read_tokenizer
from clipshelf_export.checkpoints.torch_modules import clip_vision_tower, linear, norm
from clipshelf_export.checkpoints.towers import Checkpoint, Transformer
from clipshelf_export.checkpoints.weights import read_model, weight_hashes


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load an AltCLIP checkpoint without the network; parameters and errors as in `clip.load`."""
    settings = parse_config(folder, config, AltCLIPConfig)
    tokenizer, text = read_tokenizer(folder), settings.text_config
    first = _first_position(text)
    text_spec = bert_text_spec(tokenizer, text, text.max_position_embeddings - first, str(folder))
    rule = read_image_rule(folder, settings.vision_config.image_size)
    model = read_model(folder, AltCLIPModel)
    reference = TorchReference(model, rule)
    return Checkpoint(
        family="altclip",
        source={**origin, "weights": weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=rule.spec,
        text_spec=text_spec,
        vision=clip_vision_tower(model, rule),
        text=_text_tower(model),
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TransformersPipeline.of(folder, reference, text_spec.max_tokens),
    )


def _first_position(config: Any) -> int:
    """Return the row of the first token's position: RoBERTa counts from the id of the padding on."""
    return int(config.pad_token_id) + 1


def _text_tower(model: Any) -> Transformer:
    """Translate the text tower; its two linears after the norm become one."""
    config, tower = model.config.text_config, model.text_model
    return bert_tower(
        tower.roberta,
        config,
        dim=model.config.projection_dim,
        projection=linear(tower.transformation).then(linear(model.text_projection)),
        first_position=_first_position(config),
        final_norm=norm(tower.pre_LN),
    )
