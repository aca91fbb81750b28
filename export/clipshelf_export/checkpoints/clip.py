"""Load `CLIPModel` checkpoints of transformers as two transformer towers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from clipshelf.model.artifact import TextSpec
from transformers import CLIPConfig, CLIPModel

from clipshelf_export.checkpoints.image_rules import read_image_rule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile, check_ids, check_template, read_tokenizer
from clipshelf_export.checkpoints.torch_modules import (
    ACTIVATIONS,
    array,
    check_tower_config,
    clip_vision_tower,
    linear,
    norm,
    pre_norm_layer,
)
from clipshelf_export.checkpoints.towers import Checkpoint, Pooling, TokenEmbedding, Transformer
from clipshelf_export.checkpoints.weights import read_model, weight_hashes

# Old configurations give this eos_token_id whatever their tokenizer says; transformers then pools at the largest id.
LEGACY_EOS = 2


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load a CLIP checkpoint without the network.

    - `folder`: holds the weights, the tokenizer and preprocessor_config.json.
    - `config`: the content of its config.json.
    - `origin`: its name, and its revision and licence where known, for the manifest.

    Returns the checkpoint. Raises ExportError naming what is missing, malformed or not supported.
    """
    settings = parse_config(folder, config, CLIPConfig)
    tokenizer = read_tokenizer(folder)
    text_spec = text_spec_of(tokenizer, settings.text_config, str(folder))
    rule = read_image_rule(folder, settings.vision_config.image_size)
    model = read_model(folder, CLIPModel)
    reference = TorchReference(model, rule)
    return Checkpoint(
        family="clip",
        source={**origin, "weights": weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=rule.spec,
        text_spec=text_spec,
        vision=clip_vision_tower(model, rule),
        text=text_tower(model, "argmax" if model.config.text_config.eos_token_id == LEGACY_EOS else "eos"),
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TransformersPipeline.of(folder, reference, text_spec.max_tokens),
    )


def parse_config(folder: Path, config: Mapping[str, Any], config_class: Any) -> Any:
    """Complete config.json with its defaults.

    - `config_class`: the class of the configuration, such as `CLIPConfig`.

    Raises ExportError where it is malformed, or where no graph can be built for it.
    """
    kind = config_class.__name__.removesuffix("Config")
    try:
        settings = config_class.from_dict(dict(config))
    except Exception as error:  # transformers raises whatever a malformed value leads to
        raise ExportError(
            f"{folder}/config.json: expected a {kind} configuration, found: {first_line(error)}"
        ) from error
    check_config(settings)
    return settings


def check_config(settings: Any) -> None:
    """Raise ExportError where no graph can be built for one of the towers that a configuration describes."""
    for name in ("vision_config", "text_config"):
        check_tower_config(getattr(settings, name), name)


def text_spec_of(tokenizer: TokenizerFile, config: Any, source: str, *, legacy: bool = True) -> TextSpec:
    """Return the limits of a CLIP text tower and its tokenizer. Raises ExportError where they contradict each other.

    - `config`: of the text tower.
    - `source`: names the checkpoint in messages.
    - `legacy`: whether the eos_token_id `LEGACY_EOS` stands for any other. Towers without it also come with mT5's
      tokenizer, which has no bos token; its eos id stands in its place.
    """
    first = tokenizer.bos_id
    if first is None and not legacy:
        tokenizer = replace(tokenizer, bos_id=tokenizer.eos_id)
    bos, eos, pad = tokenizer.special_ids(source)
    check_ids(tokenizer, config.vocab_size, (bos, eos, pad))
    if config.eos_token_id != eos and not (legacy and config.eos_token_id == LEGACY_EOS):
        expected = f"the tokenizer's {eos}" + (f", or {LEGACY_EOS} in old checkpoints" if legacy else "")
        raise ExportError(f"text_config.eos_token_id: expected {expected}, found {config.eos_token_id}")
    check_template(tokenizer, first=first, last=eos, source=source)
    return TextSpec(tokenizer.with_limit(config.max_position_embeddings), pad, bos, eos, attention_mask=False)


def text_tower(model: Any, pooling: Pooling) -> Transformer:
    """Translate the text tower of a `CLIPModel`, or of one of the models that share it."""
    config, tower = model.config.text_config, model.text_model
    tables = tower.embeddings
    return Transformer(
        embedding=TokenEmbedding(array(tables.token_embedding.weight), array(tables.position_embedding.weight), None),
        layers=[pre_norm_layer(layer, config.hidden_act) for layer in tower.encoder.layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=False,
        causal=True,
        pooling=pooling,
        dim=model.config.projection_dim,
        eos_id=int(config.eos_token_id or 0),
        final_norm=norm(tower.final_layer_norm),
        projection=linear(model.text_projection),
    )
