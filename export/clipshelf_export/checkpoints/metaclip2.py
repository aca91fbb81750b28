"""Load `MetaClip2Model` checkpoints of transformers: CLIP's towers with the tokenizer of XLM-R."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import MetaClip2Config, MetaClip2Model

from clipshelf_export.checkpoints import clip
from clipshelf_export.checkpoints.image_rules import read_image_rule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import read_tokenizer
from clipshelf_export.checkpoints.torch_modules import clip_vision_tower
from clipshelf_export.checkpoints.towers import Checkpoint
from clipshelf_export.checkpoints.weights import read_model, weight_hashes


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load a MetaCLIP 2 checkpoint without the network; parameters and errors as in `clip.load`.

    The end of text of XLM-R has the id 2, which marks the legacy convention of CLIP. Here it is a real id.
    """
    settings = clip.parse_config(folder, config, MetaClip2Config)
    tokenizer = read_tokenizer(folder)
    text_spec = clip.text_spec_of(tokenizer, settings.text_config, str(folder), legacy=False)
    rule = read_image_rule(folder, settings.vision_config.image_size)
    model = read_model(folder, MetaClip2Model)
    reference = TorchReference(model, rule)
    return Checkpoint(
        family="metaclip_2",
        source={**origin, "weights": weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=rule.spec,
        text_spec=text_spec,
        vision=clip_vision_tower(model, rule),
        text=clip.text_tower(model, "eos"),
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TransformersPipeline.of(folder, reference, text_spec.max_tokens),
    )
