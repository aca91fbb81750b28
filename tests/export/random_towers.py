"""Small transformer towers with random weights, one for each form that a family has, and int8 plans of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from clipshelf_export.checkpoints.towers import (
    AttentionPool,
    Layer,
    Linear,
    Norm,
    Padding,
    PatchEmbedding,
    TokenEmbedding,
    Transformer,
)
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.int8.calibration import collect_statistics
from clipshelf_export.int8.ranges import choose_params
from clipshelf_export.int8.sites import iterate_sites, uncalibrated_sites

# Odd on purpose: neither a multiple of 64 outputs, nor of 4 inputs, nor of 16 lanes.
WIDTH, HIDDEN, HEADS, DIM, VOCABULARY, TOKENS, EOS = 42, 90, 3, 21, 50, 24, 49


def make_tower(family: str, seed: int = 0, *, spread: float = 0.6, outlier: float = 4) -> Transformer:
    """A tower of a family: "clip", "siglip" and "text" read pictures or texts as their models do.

    - `spread`: the size of the weights. With 1.5 a tower is so sharp that int8 itself loses much of it.
    - `outlier`: how much larger one channel is after each norm.
    """
    rng = np.random.default_rng(seed)

    def array(*shape: int, size: float = 1.0) -> Any:
        return (size * rng.standard_normal(shape)).astype(np.float32)

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(array(inputs, outputs, size=spread * inputs**-0.5), array(outputs, size=0.1))

    def norm() -> Norm:
        gain = 1 + array(WIDTH, size=0.2)
        gain[5] *= outlier
        return Norm(gain, array(WIDTH, size=0.1), 1e-5)

    def layer() -> Layer:
        fc1, fc2 = linear(WIDTH, HIDDEN), linear(HIDDEN, WIDTH)
        return Layer(norm(), linear(WIDTH, 3 * WIDTH), linear(WIDTH, WIDTH), norm(), fc1, fc2)

    def pool() -> AttentionPool:
        qkv, out, fc1, fc2 = (linear(WIDTH, n) for n in (3 * WIDTH, WIDTH, HIDDEN, WIDTH))
        return AttentionPool(array(WIDTH), qkv, out, norm(), fc1, Linear(array(HIDDEN, WIDTH, size=0.1), fc2.bias))

    def tokens(padding: Padding | None = None, *, normalised: bool = False) -> TokenEmbedding:
        return TokenEmbedding(array(VOCABULARY, WIDTH), array(TOKENS, WIDTH), norm() if normalised else None, padding)

    def patches(*, class_token: bool) -> PatchEmbedding:
        mean, std = np.full(3, 0.45, np.float32), np.full(3, 0.25, np.float32)
        token, first = array(WIDTH) if class_token else None, norm() if class_token else None
        return PatchEmbedding(
            17, 5, mean, std, linear(75, WIDTH), token, array(9 + class_token, WIDTH, size=0.3), first
        )

    common: dict[str, Any] = {"layers": [layer(), layer()], "heads": HEADS, "dim": DIM, "final_norm": norm()}
    projection, hidden = linear(WIDTH, DIM), linear(WIDTH, WIDTH)
    text: dict[str, Any] = {"post_norm": False, "causal": True, "projection": projection}
    bert = {**common, "activation": "gelu", "post_norm": True, "causal": False, "final_norm": None}
    mean = {**bert, "pooling": "mean", "hidden_projection": hidden, "projection": projection}
    forms: dict[str, dict[str, Any]] = {
        "clip vision": dict(common, embedding=patches(class_token=True), activation="silu", pooling="first",
                            post_norm=False, causal=False, projection=projection),
        "siglip vision": dict(common, embedding=patches(class_token=False), activation="gelu_tanh",
                              pooling="attention", post_norm=False, causal=False, attention_pool=pool(), dim=WIDTH),
        "legacy clip text": dict(common, embedding=tokens(), activation="silu", pooling="argmax", **text),
        "clip text": dict(common, embedding=tokens(), activation="gelu", pooling="eos", eos_id=EOS, **text),
        "siglip text": dict(common, embedding=tokens(Padding(TOKENS, 0)), activation="gelu_tanh", pooling="last",
                            **{**text, "causal": False}),
        "chinese clip text": dict(bert, embedding=tokens(normalised=True), pooling="first", projection=projection),
        "altclip text": dict(bert, embedding=tokens(normalised=True), pooling="first", final_norm=norm(),
                             projection=projection),
        "multilingual text": dict(mean, embedding=tokens(normalised=True)),
        "minilm text": dict(mean, embedding=tokens(normalised=True), hidden_projection=None),
    }  # fmt: skip
    return Transformer(**forms[family])


FAMILIES = (
    "clip vision",
    "siglip vision",
    "legacy clip text",
    "clip text",
    "siglip text",
    "chinese clip text",
    "altclip text",
    "multilingual text",
    "minilm text",
)
# Whether a plan uses smoothing and shift everywhere, the outlier channels of a site, and sites in floating point.
PLANS: dict[str, tuple[bool, int, tuple[str, ...]]] = {
    "plain": (False, 0, ()),
    "shift": (True, 0, ()),
    "outliers": (True, 3, ()),
    "float qkv and fc2": (True, 2, ("qkv", "fc2")),
    "float out and fc1": (True, 0, ("out", "fc1")),
}


def make_plan(tower: Transformer, kind: str, scratch: Path) -> Plan:
    """An int8 plan of a tower, calibrated on random inputs; `scratch` is a file for graphs."""
    transform, outliers, in_float = PLANS[kind]
    statistics = collect_statistics(tower, [sample[0] for sample in make_inputs(tower, 1, 12)], scratch, 1, "")
    chosen: dict[str, Int8Params] = {}
    for site in iterate_sites(tower, chosen):
        if site.name.rpartition(".")[2] not in in_float:
            fits = transform or site.foldable
            choice = choose_params(statistics[site.name], site.linear, transform=fits, outliers=outliers)
            chosen[site.name] = choice.params
    return Plan("int8", {**uncalibrated_sites(tower), **chosen})


def make_inputs(tower: Transformer, batch: int, count: int, seed: int = 1) -> list[Any]:
    """`count` batches for a tower: uint8 pictures, or int64 texts of one length in each batch."""
    rng = np.random.default_rng(seed)
    embedding = tower.embedding
    if isinstance(embedding, PatchEmbedding):
        return [rng.integers(0, 256, (batch, embedding.size, embedding.size, 3), np.uint8) for _ in range(count)]
    texts = [rng.integers(1, EOS, (batch, rng.integers(3, TOKENS + 1))) for _ in range(count)]
    for text in texts:
        text[:, -1] = EOS
    return texts
