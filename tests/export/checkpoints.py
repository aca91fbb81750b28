"""Tiny CLIP checkpoints with a real byte-level tokenizer, and ways to make them as hard to quantise as trained ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

START, END = "<|startoftext|>", "<|endoftext|>"
SENTENCES = [f"{a} {b} {c}, size {n}" for n, (a, b, c) in enumerate(
    (a, b, c)
    for a in ("red", "blue", "striped", "cheap", "warm")
    for b in ("leather", "cotton", "wooden")
    for c in ("jacket", "shoe", "lamp", "chair for the garden", "mug that my mother loved so much that she kept it")
)]  # fmt: skip
SHAPE: dict[str, dict[str, Any]] = {
    "vision": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
               "image_size": 32, "patch_size": 8},
    "text": {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3,
             "max_position_embeddings": 40},
}  # fmt: skip


def write_checkpoint(folder: Path, *, seed: int = 0, dim: int = 32, **changes: Any) -> CLIPModel:
    """Write a random CLIPModel; `changes` such as text_eos_token_id=2 reach its configs."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder)
    shape = {tower: dict(values) for tower, values in SHAPE.items()}
    shape["text"] |= {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    for name, value in changes.items():
        tower, key = name.split("_", 1)
        shape[tower][key] = value
    model = CLIPModel(CLIPConfig(vision_config=shape["vision"], text_config=shape["text"], projection_dim=dim)).eval()
    initialise(model, seed)
    model.save_pretrained(folder)
    side = shape["vision"]["image_size"]
    square = {"height": side, "width": side}
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size=square).save_pretrained(folder)
    return model


def initialise(model: torch.nn.Module, seed: int) -> None:
    """Draw all weights from a generator of their own, so that a seed means the same in every release of transformers.

    Linears are larger than at the start of a training, so that different inputs get different embeddings.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            if "norm" in name.lower() or value.ndim == 0:
                continue
            if name.endswith("bias"):
                std = 0.05
            elif value.ndim == 2 and "embedding" not in name:
                std = 1.25 * value.shape[1] ** -0.5
            else:
                std = value.shape[-1] ** -0.5 if value.ndim == 1 else 0.02
            value.normal_(std=std, generator=generator)


def embeds_of(features: Any) -> torch.Tensor:
    """The embeddings in what `get_*_features` returns: in transformers 5 an object, before it the tensor."""
    embeds: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return embeds


def write_tokenizer(folder: Path) -> CLIPTokenizerFast:
    """vocab.json and merges.txt of a byte-level BPE, as CLIP's, whose merges build the words of SENTENCES.

    Not trained: the library's trainer breaks ties in another order in each process.
    """
    words = sorted({word for text in SENTENCES for word in re.findall("[a-z]+", text)})
    merges = dict.fromkeys(pair for word in words for pair in _pairs(word))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    fast = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40)
    fast.save_pretrained(folder)
    return fast


def _pairs(word: str) -> Iterator[tuple[str, str]]:
    """The merges that build a word letter by letter."""
    left = word[0]
    for length, letter in enumerate(word[1:], 2):
        right = f"{letter}</w>" if length == len(word) else letter
        yield left, right
        left += right


def inject_outliers(model: CLIPModel, *, seed: int = 5, channels: int = 3, constant: float = 15.0) -> None:
    """Make outlier channels after norms and values, and constant hidden units; the weights that follow undo them.

    The model computes the same embeddings as before, but plain int8 no longer does.
    """
    rng = np.random.default_rng(seed)

    def draw(width: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.from_numpy(rng.choice(width, channels, replace=False))
        return rows, torch.from_numpy(rng.uniform(20, 80, channels).astype(np.float32))

    with torch.no_grad():
        for layer in (*model.vision_model.encoder.layers, *model.text_model.encoder.layers):
            attention, mlp = layer.self_attn, layer.mlp
            queries = (attention.q_proj, attention.k_proj, attention.v_proj)
            for norm, linears in ((layer.layer_norm1, queries), (layer.layer_norm2, (mlp.fc1,))):
                rows, size = draw(norm.weight.numel())
                norm.weight[rows] *= size
                norm.bias[rows] *= size
                for linear in linears:
                    linear.weight[:, rows] /= size
            rows, size = draw(attention.v_proj.bias.numel())
            attention.v_proj.weight[rows] *= size[:, None]
            attention.v_proj.bias[rows] *= size
            attention.out_proj.weight[:, rows] /= size
            rows, _ = draw(mlp.fc1.bias.numel())
            mlp.fc1.bias[rows] += constant
            mlp.fc2.bias -= mlp.fc2.weight[:, rows].sum(1) * constant


def write_calibration_data(folder: Path) -> tuple[Path, Path]:
    """Write 90 pictures and the SENTENCES; return the folder of the pictures and the file of the texts."""
    (folder / "pictures").mkdir()
    for index, picture in enumerate(pictures(90)):
        Image.fromarray(picture).save(folder / "pictures" / f"{index:03}.png")
    (folder / "texts.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
    return folder / "pictures", folder / "texts.txt"


def sharpen_attention(model: CLIPModel, times: float) -> None:
    """Scale queries and keys by `times`: attention jumps between tokens, and fp32 differs much from fp64."""
    with torch.no_grad():
        for layer in (*model.vision_model.encoder.layers, *model.text_model.encoder.layers):
            for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                linear.weight *= times


def pictures(count: int, side: int = 32, seed: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth pictures of several colours, (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(side // 4, 1).repeat(side // 4, 2)
    return np.clip(coarse + rng.integers(-40, 40, (count, side, side, 3)), 0, 255).astype(np.uint8)
