"""Load `SiglipModel` checkpoints of transformers: SigLIP, and SigLIP 2 of a fixed resolution.

Texts are padded to the trained length, without a mask, and the last token is the embedding. Pictures have no class
token; a trained query attends to all patches instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from clipshelf.errors import ExportError
from clipshelf.model.artifact import TextSpec
from transformers import SiglipConfig, SiglipModel

from clipshelf_export.checkpoints.clip import parse_config
from clipshelf_export.checkpoints.image_rules import ImageRule, read_image_rule
from clipshelf_export.checkpoints.library_pipeline import TransformersPipeline
from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.sentencepiece_files import read_siglip_tokenizer
from clipshelf_export.checkpoints.tokenizer_files import (
    TokenizerFile,
    check_ids,
    check_template,
    load_tokenizer,
    read_tokenizer,
)
from clipshelf_export.checkpoints.torch_modules import (
    ACTIVATIONS,
    array,
    linear,
    norm,
    patch_linear,
    pre_norm_layer,
)
from clipshelf_export.checkpoints.towers import (
    AttentionPool,
    Checkpoint,
    Linear,
    Padding,
    PaddingSide,
    PatchEmbedding,
    TokenEmbedding,
    Transformer,
)
from clipshelf_export.checkpoints.weights import read_model, weight_hashes


def load(folder: Path, config: Mapping[str, Any], origin: Mapping[str, Any]) -> Checkpoint:
    """Load a SigLIP checkpoint without the network; parameters and errors as in `clip.load`."""
    settings = parse_config(folder, config, SiglipConfig)
    tokenizer, side = _read_tokenizer(folder)
    padding = padding_of(tokenizer, settings.text_config, side, str(folder))
    rule = read_image_rule(folder, settings.vision_config.image_size, "SiglipImageProcessor")
    model = read_model(folder, SiglipModel)
    reference = TorchReference(model, rule, embed_padded(padding))
    return Checkpoint(
        family="siglip",
        source={**origin, "weights": weight_hashes(folder)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=rule.spec,
        text_spec=text_spec_of(tokenizer, padding),
        vision=vision_tower(model, rule),
        text=text_tower(model, padding),
        tokenizer_json=tokenizer.json,
        reference=reference,
        pipeline=TransformersPipeline.of(folder, reference, padding.length, length=padding.length),
        logits=logits_of(model),
    )


def _read_tokenizer(folder: Path) -> tuple[TokenizerFile, PaddingSide]:
    """Return the tokenizer and the side of its padding; one of SentencePiece is translated."""
    names = {path.name for path in folder.iterdir()}
    if "spiece.model" not in names or "tokenizer.json" in names:
        file = read_tokenizer(folder)
        return file, cast("PaddingSide", load_tokenizer(folder).padding_side)
    return read_siglip_tokenizer(folder), "right"


def padding_of(tokenizer: TokenizerFile, config: Any, side: PaddingSide, source: str) -> Padding:
    """Return the padding of a SigLIP text tower. Raises ExportError where tokenizer and tower contradict each other.

    - `config`: of the text tower.
    - `side`: where the tokenizer puts the padding.
    - `source`: names the checkpoint in messages.
    """
    if tokenizer.pad_id is None or tokenizer.eos_id is None:
        raise ExportError(f"{source}: expected a tokenizer with a pad and an eos token, found none")
    check_ids(tokenizer, config.vocab_size, [tokenizer.pad_id, tokenizer.eos_id])
    check_template(tokenizer, first=None, last=tokenizer.eos_id, source=source)
    if side == "left" and tokenizer.pad_id == tokenizer.eos_id:
        raise ExportError(f"{source}: expected another pad token than the eos token for padding_side left, found one")
    return Padding(config.max_position_embeddings, tokenizer.pad_id, side)


def text_spec_of(tokenizer: TokenizerFile, padding: Padding) -> TextSpec:
    """Return the limits of a text tower that pads; a tokenizer without a bos token has its eos id in its place."""
    eos = tokenizer.eos_id if tokenizer.eos_id is not None else padding.pad_id
    bos = eos if tokenizer.bos_id is None else tokenizer.bos_id
    return TextSpec(padding.length, padding.pad_id, bos, eos, attention_mask=False)


def embed_padded(padding: Padding) -> Callable[[Any, torch.Tensor, torch.Tensor], Any]:
    """Return a function that pads texts as `padding` says and embeds them with the model."""

    def embed(model: Any, input_ids: torch.Tensor, mask: torch.Tensor) -> Any:
        padded = torch.full((len(input_ids), padding.length), padding.pad_id)
        for row, ids, keep in zip(padded, input_ids, mask.bool(), strict=True):
            text = ids[keep]
            row[slice(0, len(text)) if padding.side == "right" else slice(padding.length - len(text), None)] = text
        return model.get_text_features(input_ids=padded)

    return embed


def logits_of(model: Any) -> dict[str, float]:
    """Return the trained scale and bias: sigmoid(scale * cosine + bias) is the probability of a match."""
    return {"scale": float(model.logit_scale.detach().exp()), "bias": float(model.logit_bias.detach())}


def vision_tower(model: Any, rule: ImageRule) -> Transformer:
    """Translate the vision tower of a `SiglipModel`. Raises ExportError where it has no pooling head."""
    config, tower = model.config.vision_config, model.vision_model
    head = getattr(tower, "head", None)
    if head is None:
        raise ExportError("vision_config.vision_use_head: expected True, found False")
    attention, biases = head.attention, head.attention.in_proj_bias
    return Transformer(
        embedding=PatchEmbedding(
            size=config.image_size,
            patch=config.patch_size,
            mean=rule.mean,
            std=rule.std,
            linear=patch_linear(tower.embeddings.patch_embedding),
            class_token=None,
            positions=array(tower.embeddings.position_embedding.weight),
            norm=None,
        ),
        layers=[pre_norm_layer(layer, config.hidden_act) for layer in tower.encoder.layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=False,
        causal=False,
        pooling="attention",
        dim=config.hidden_size,
        final_norm=norm(tower.post_layernorm),
        attention_pool=AttentionPool(
            probe=array(head.probe)[0, 0],
            qkv=Linear(array(attention.in_proj_weight).T, array(biases)),
            out=linear(attention.out_proj),
            norm=norm(head.layernorm),
            fc1=linear(head.mlp.fc1),
            fc2=linear(head.mlp.fc2),
        ),
    )


def text_tower(model: Any, padding: Padding) -> Transformer:
    """Translate the text tower of a `SiglipModel`."""
    config, tower = model.config.text_config, model.text_model
    tables = tower.embeddings
    return Transformer(
        embedding=TokenEmbedding(
            array(tables.token_embedding.weight), array(tables.position_embedding.weight), None, padding
        ),
        layers=[pre_norm_layer(layer, config.hidden_act) for layer in tower.encoder.layers],
        heads=config.num_attention_heads,
        activation=ACTIVATIONS[config.hidden_act],
        post_norm=False,
        causal=False,
        pooling="last",
        dim=tower.head.out_features,
        final_norm=norm(tower.final_layer_norm),
        projection=linear(tower.head),
    )
