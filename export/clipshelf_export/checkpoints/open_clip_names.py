"""The names of weights in open_clip and timm, translated to those of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

# (beginning of a name in open_clip, beginning in transformers) of CLIP's towers, without a prefix of the text tower
CLIP_VISION = (
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
)
TEXT = (
    ("token_embedding.", "text_model.embeddings.token_embedding."),
    ("ln_final.", "text_model.final_layer_norm."),
    ("transformer.resblocks.", "text_model.encoder.layers."),
)
TRUNK = (
    ("visual.trunk.patch_embed.proj.", "vision_model.embeddings.patch_embedding."),
    ("visual.trunk.norm.", "vision_model.post_layernorm."),
    ("visual.trunk.blocks.", "vision_model.encoder.layers."),
    ("visual.trunk.attn_pool.proj.", "vision_model.head.attention.out_proj."),
    ("visual.trunk.attn_pool.norm.", "vision_model.head.layernorm."),
    ("visual.trunk.attn_pool.mlp.", "vision_model.head.mlp."),
)
# parts of the name of a layer's weight
LAYER = (
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.proj.", ".self_attn.out_proj."),
)
# packed weights of queries, keys and values
PACKED = (".attn.in_proj_weight", ".attn.in_proj_bias", ".attn.qkv.weight", ".attn.qkv.bias")
# buffers that are no weights
BUFFERS = ("attn_mask", "position_ids")


def rename_clip(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of open_clip's `CLIP` or `CustomTextCLIP` by their names in `CLIPModel`."""
    renamed = {}
    for name, value in _without_prefix(state):
        match name:
            case "visual.class_embedding":
                renamed["vision_model.embeddings.class_embedding"] = value
            case "visual.positional_embedding":
                renamed["vision_model.embeddings.position_embedding.weight"] = value
            case "positional_embedding":
                renamed["text_model.embeddings.position_embedding.weight"] = value
            case "visual.proj":
                renamed["visual_projection.weight"] = value.T.contiguous()
            case "text_projection":
                renamed["text_projection.weight"] = value.T.contiguous()
            case "logit_scale":
                renamed[name] = value.reshape(())
            case _:
                renamed |= _rename_layer(_rename_start(name, (*CLIP_VISION, *TEXT)), value)
    return renamed


def rename_siglip(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a SigLIP in open_clip, with a trunk of timm, by their names in `SiglipModel`."""
    renamed, pool = {}, "visual.trunk.attn_pool."
    for name, value in _without_prefix(state):
        match name:
            case "visual.trunk.pos_embed":
                renamed["vision_model.embeddings.position_embedding.weight"] = value[0]
            case "visual.trunk.attn_pool.latent":
                renamed["vision_model.head.probe"] = value
            case "positional_embedding":
                renamed["text_model.embeddings.position_embedding.weight"] = value
            case "text_projection.weight" | "text_projection.bias":
                renamed[name.replace("text_projection", "text_model.head")] = value
            case "logit_scale" | "logit_bias":
                renamed[name] = value.reshape(1)
            case _ if name.startswith((f"{pool}q.", f"{pool}kv.")):
                continue
            case _:
                renamed |= _rename_layer(_rename_start(name, (*TRUNK, *TEXT)), value)
    for kind in ("weight", "bias"):
        packed = torch.cat([state[f"{pool}q.{kind}"], state[f"{pool}kv.{kind}"]])
        renamed[f"vision_model.head.attention.in_proj_{kind}"] = packed
    return renamed


def _without_prefix(state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights without the prefix that `CustomTextCLIP` gives its text tower, and without buffers."""
    for name, value in state.items():
        if not name.endswith(BUFFERS):
            yield name.removeprefix("text."), value


def _rename_start(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for start, other in table:
        if name.startswith(start):
            return other + name.removeprefix(start)
    return name


def _rename_layer(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the weight of a layer, or its three parts where it is packed, by the names in transformers."""
    for packed in PACKED:
        if name.endswith(packed):
            prefix, kind = name.removesuffix(packed), "bias" if packed.endswith("bias") else "weight"
            parts = zip("qkv", value.chunk(3), strict=True)
            return {f"{prefix}.self_attn.{letter}_proj.{kind}": part.contiguous() for letter, part in parts}
    for part, other in LAYER:
        name = name.replace(part, other)
    return {name: value}
