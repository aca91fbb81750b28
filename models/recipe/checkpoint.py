"""Writes the trained model: weights, configuration, tokenizer, and outputs of torch for parity tests.

B batch, S edge of a picture in pixels, L tokens, F = 2560, C = 1000, D = 384.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from .head import Head
from .text import MAX_TOKENS, TextEncoder
from .views import Pixels
from .vision import MEAN, STD, Vision

FAMILY = "clipshelf-default"


def _config(vision: Vision, head: Head, encode: TextEncoder, resize: str) -> dict[str, Any]:
    text, offset, nets = encode.model.config, 0, []
    for backbone in vision.backbones:
        # convolutions of all backbones are numbered together
        blocks = [block.as_json() for block in backbone.blocks]
        for conv in (conv for block in blocks for conv in block["convs"]):
            conv["index"] += offset
        offset += len(backbone.weights)
        nets.append({"blocks": blocks})
    return {
        "family": FAMILY,
        "embedding_dim": head.classes.shape[1],
        "image": {"size": vision.size, "resize": resize, "resample": "bicubic", "mean": MEAN, "std": STD},
        "vision": {"backbones": nets},
        "head": {"beta": head.beta},
        "text": {
            "hidden_size": text.hidden_size,
            "num_attention_heads": text.num_attention_heads,
            "num_hidden_layers": text.num_hidden_layers,
            "intermediate_size": text.intermediate_size,
            "layer_norm_eps": text.layer_norm_eps,
            "max_tokens": MAX_TOKENS,
            "pad_id": encode.tokenizer.token_to_id("[PAD]"),
            "bos_id": encode.tokenizer.token_to_id("[CLS]"),
            "eos_id": encode.tokenizer.token_to_id("[SEP]"),
        },
    }


def tensors(vision: Vision, head: Head, encode: TextEncoder) -> dict[str, torch.Tensor]:
    """All weights by name. Linear layers have torch's shape, (out, in)."""
    weights = {f"text.{name}": value for name, value in encode.model.state_dict().items() if "position_ids" not in name}
    convs = [pair for net in vision.backbones for pair in zip(net.weights, net.biases, strict=True)]
    for i, (weight, bias) in enumerate(convs):
        weights |= {f"vision.{i}.weight": weight, f"vision.{i}.bias": bias}
    weights |= {"head.classifier.weight": vision.classifier.weight, "head.classifier.bias": vision.classifier.bias}
    weights |= {f"head.{name}": value for name, value in head.state_dict().items()}
    return {name: value.detach().float().contiguous().clone() for name, value in weights.items()}


@torch.inference_mode()
def _reference(
    vision: Vision, head: Head, encode: TextEncoder, pixels: Pixels, sentences: list[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs and outputs of torch: images (n, D) of pixels (n, S, S, 3), texts (m, D) of input_ids (m, L), 0-padded."""
    features, logits = vision(torch.from_numpy(pixels))
    ids = [encode.token_ids(text) for text in sentences]
    length = max(map(len, ids))
    padded = np.asarray([row + [0] * (length - len(row)) for row in ids], dtype=np.int64)
    return {
        "pixels": pixels,
        "features": features.numpy(),
        "image_embeds": head(features, logits).numpy(),
        "sentences": np.asarray(sentences),
        "input_ids": padded,
        "attention_mask": (padded != 0).astype(np.int64),
        "text_embeds": encode(sentences),
    }


def write(
    folder: Path, vision: Vision, head: Head, encode: TextEncoder, *, resize: str, pixels: Pixels, sentences: list[str]
) -> None:
    """Write the checkpoint.

    - `folder`: files are written beside it and then moved into it, so that a reader never sees half a file.
    - `resize`: the rule that brings pictures to size, as in `views.fit`.
    - `pixels`: (n, S, S, 3) pictures whose embeddings are stored.
    - `sentences`: m sentences whose embeddings are stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        draft = Path(temporary)
        config = _config(vision, head, encode, resize)
        (draft / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        save_file(tensors(vision, head, encode), draft / "model.safetensors")
        encode.tokenizer.save(str(draft / "tokenizer.json"))
        np.savez(draft / "reference.npz", allow_pickle=False, **_reference(vision, head, encode, pixels, sentences))
        for file in sorted(draft.iterdir()):
            file.replace(folder / file.name)
