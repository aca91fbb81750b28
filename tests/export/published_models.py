"""Models that people use, with the shapes of their published configurations, and random towers of these shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True)
class Vision:
    """Width, layers and heads of a vision tower, the pixels of a picture and of a patch, and whether it is SigLIP's."""

    width: int
    layers: int
    heads: int
    size: int
    patch: int
    siglip: bool = False


@dataclass(frozen=True)
class Text:
    """Kind, width, layers and heads of a text tower, the rows of its table of tokens, and its context."""

    kind: Literal["clip", "siglip", "bert"]
    width: int
    layers: int
    heads: int
    vocabulary: int
    context: int


@dataclass(frozen=True)
class Model:
    """A row of docs/models.md.

    - `family`: that of the manifest.
    - `licence`, `languages`: of the weights; a dagger marks what no source confirmed.
    - `dim`: D, of both towers.
    """

    name: str
    family: str
    licence: str
    languages: str
    dim: int
    vision: Vision
    text: Text


VIT_B32, VIT_B16, VIT_L14 = (
    Vision(768, 12, 12, 224, 32),
    Vision(768, 12, 12, 224, 16),
    Vision(1024, 24, 16, 224, 14),
)
SIGLIP_B16 = Vision(768, 12, 12, 224, 16, siglip=True)
CLIP_TEXT, SIGLIP_TEXT = Text("clip", 512, 12, 8, 49408, 77), Text("siglip", 768, 12, 12, 32000, 64)
MODELS = (
    Model("openai/clip-vit-base-patch32", "clip", "MIT", "English", 512, VIT_B32, CLIP_TEXT),
    Model("openai/clip-vit-large-patch14", "clip", "MIT", "English", 768,
          VIT_L14, Text("clip", 768, 12, 12, 49408, 77)),
    Model("patrickjohncyh/fashion-clip", "clip", "MIT", "English", 512, VIT_B32, CLIP_TEXT),
    Model("google/siglip-base-patch16-224", "siglip", "Apache-2.0", "English", 768, SIGLIP_B16, SIGLIP_TEXT),
    Model("google/siglip2-base-patch16-256", "siglip", "Apache-2.0", "over 100 †", 768,
          Vision(768, 12, 12, 256, 16, siglip=True), Text("siglip", 768, 12, 12, 256000, 64)),
    Model("laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", "open_clip", "MIT", "English", 512, VIT_B16, CLIP_TEXT),
    Model("apple/DFN2B-CLIP-ViT-B-16", "open_clip", "apple-amlr †", "English", 512, VIT_B16, CLIP_TEXT),
    Model("Marqo/marqo-fashionSigLIP", "open_clip", "Apache-2.0", "English", 768, SIGLIP_B16, SIGLIP_TEXT),
    Model("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", "open_clip", "MIT", "about 100 †", 512,
          VIT_B32, Text("bert", 768, 12, 12, 250002, 77)),
    Model("OFA-Sys/chinese-clip-vit-base-patch16", "chinese_clip", "see its card", "Chinese", 512,
          VIT_B16, Text("bert", 768, 12, 12, 21128, 512)),
    Model("BAAI/AltCLIP", "altclip", "CreativeML Open RAIL-M †", "English, Chinese", 768,
          VIT_L14, Text("bert", 1024, 24, 16, 250002, 512)),
    Model("facebook/metaclip-2-worldwide-huge-quickgelu", "metaclip_2", "CC-BY-NC-4.0 †", "over 300 †", 1024,
          Vision(1280, 32, 16, 224, 14), Text("clip", 1024, 24, 16, 901629, 77)),
    Model("sentence-transformers/clip-ViT-B-32, texts of clip-ViT-B-32-multilingual-v1", "clip+distilbert",
          "Apache-2.0", "over 50", 512, VIT_B32, Text("bert", 768, 6, 12, 119547, 128)),
)  # fmt: skip


class RandomTowers:
    """Random towers of published shapes; the same `seed` gives the same weights."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def vision(self, shape: Vision, dim: int) -> Transformer:
        """A vision tower; that of a SigLIP pools by a trained query and has the dimension of its width."""
        grid, width = (shape.size // shape.patch) ** 2, shape.width
        half = np.full(3, 0.5, np.float32)
        embedding = PatchEmbedding(
            shape.size,
            shape.patch,
            half,
            half,
            self._linear(3 * shape.patch**2, width),
            None if shape.siglip else self._array(width),
            self._array(grid + (not shape.siglip), width, size=0.3),
            None if shape.siglip else self._norm(width),
        )
        layers, pool = [self._layer(width) for _ in range(shape.layers)], self._layer(width)
        return Transformer(
            embedding=embedding,
            layers=layers,
            heads=shape.heads,
            activation="gelu_tanh" if shape.siglip else "silu",
            post_norm=False,
            causal=False,
            pooling="attention" if shape.siglip else "first",
            dim=width if shape.siglip else dim,
            final_norm=self._norm(width),
            projection=None if shape.siglip else self._linear(width, dim),
            attention_pool=AttentionPool(self._array(width), pool.qkv, pool.out, pool.norm2, pool.fc1, pool.fc2)
            if shape.siglip
            else None,
        )

    def text(self, shape: Text, dim: int) -> Transformer:
        """A text tower: CLIP's, SigLIP's that pads each text, or one like BERT that takes a mask."""
        width, bert = shape.width, shape.kind == "bert"
        embedding = TokenEmbedding(
            self._array(shape.vocabulary, width, size=0.5),
            self._array(shape.context, width, size=0.3),
            self._norm(width) if bert else None,
            Padding(shape.context, 0) if shape.kind == "siglip" else None,
        )
        forms: dict[str, dict[str, Any]] = {
            "clip": {"activation": "silu", "causal": True, "pooling": "argmax", "final_norm": self._norm(width)},
            "siglip": {"activation": "gelu_tanh", "causal": False, "pooling": "last", "final_norm": self._norm(width)},
            "bert": {"activation": "gelu", "causal": False, "pooling": "mean"},
        }
        return Transformer(
            embedding=embedding,
            layers=[self._layer(width) for _ in range(shape.layers)],
            heads=shape.heads,
            post_norm=bert,
            dim=dim,
            projection=self._linear(width, dim),
            **forms[shape.kind],
        )

    def _array(self, *shape: int, size: float = 1.0) -> Any:
        return np.float32(size) * self._rng.standard_normal(shape, np.float32)

    def _linear(self, inputs: int, outputs: int) -> Linear:
        return Linear(self._array(inputs, outputs, size=inputs**-0.5), self._array(outputs, size=0.05))

    def _norm(self, width: int) -> Norm:
        return Norm(1 + self._array(width, size=0.1), self._array(width, size=0.1), 1e-5)

    def _layer(self, width: int) -> Layer:
        qkv, out, fc1 = (self._linear(width, outputs) for outputs in (3 * width, width, 4 * width))
        return Layer(self._norm(width), qkv, out, self._norm(width), fc1, self._linear(4 * width, width))
