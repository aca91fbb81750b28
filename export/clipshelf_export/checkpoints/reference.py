"""The original model in torch, as the towers of its family are compared with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from clipshelf.types import FloatArray, Pixels, TokenIds

from clipshelf_export.checkpoints.image_rules import ImageRule
from clipshelf_export.checkpoints.towers import ReferenceModel

# Embeds texts with a model: (model, input_ids (B, L), mask (B, L)) to features (B, D) of any norm.
EmbedTexts: TypeAlias = Callable[[Any, torch.Tensor, torch.Tensor], Any]


class TextReference:
    """The text tower of a model of transformers, in the precision of its weights.

    - `model`: in evaluation mode.
    - `embed`: how the model embeds texts; by default its `get_text_features`.
    """

    def __init__(self, model: Any, embed: EmbedTexts | None = None) -> None:
        self._model, self._embed = model, embed or text_features

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of `input_ids` (B, L) with `mask` (B, L)."""
        with torch.inference_mode(), default_dtype(self._dtype):
            return to_unit_norm(self._embed(self._model, torch.from_numpy(input_ids), torch.from_numpy(mask)))

    def in_double(self) -> TextReference:
        """Return a copy that computes in fp64."""
        return TextReference(copy.deepcopy(self._model).double(), self._embed)

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = next(self._model.parameters()).dtype
        return dtype


class TorchReference(TextReference):
    """A model of transformers, in the precision of its weights; a `ReferenceModel`.

    - `model`: in evaluation mode, with `get_image_features`.
    - `rule`: whose mean and standard deviation are applied to pixels.
    - `embed`: how the model embeds texts; by default its `get_text_features`.
    """

    def __init__(self, model: Any, rule: ImageRule, embed: EmbedTexts | None = None) -> None:
        super().__init__(model, embed)
        self._rule = rule

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        values = (pixels.astype(np.float32) / 255 - self._rule.mean) / self._rule.std
        return self.embed_pixel_values(torch.from_numpy(values.transpose(0, 3, 1, 2).copy()))

    def embed_pixel_values(self, pixel_values: torch.Tensor) -> FloatArray:
        """Return unit-norm embeddings (B, D) of normalised pixels (B, 3, S, S)."""
        with torch.inference_mode():
            return to_unit_norm(self._model.get_image_features(pixel_values=pixel_values.to(self._dtype)))

    def in_double(self) -> TorchReference:
        """Return a copy that computes in fp64."""
        return TorchReference(copy.deepcopy(self._model).double(), self._rule, self._embed)


class PairedReference:
    """The vision tower of one model and the text tower of another; a `ReferenceModel`."""

    def __init__(self, vision: ReferenceModel, text: TextReference) -> None:
        self._vision, self._text = vision, text

    def embed_images(self, pixels: Pixels) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pixels (B, S, S, 3)."""
        return self._vision.embed_images(pixels)

    def embed_texts(self, input_ids: TokenIds, mask: TokenIds) -> FloatArray:
        """Return unit-norm embeddings (B, D) of `input_ids` (B, L) with `mask` (B, L)."""
        return self._text.embed_texts(input_ids, mask)

    def in_double(self) -> PairedReference | None:
        """Return a copy that computes in fp64, or None where the vision model has none."""
        vision = self._vision.in_double()
        return None if vision is None else PairedReference(vision, self._text.in_double())


def text_features(model: Any, input_ids: torch.Tensor, mask: torch.Tensor) -> Any:
    """Embed texts by the model's `get_text_features`."""
    return model.get_text_features(input_ids=input_ids, attention_mask=mask)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype, in which transformers makes the causal mask."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def to_unit_norm(features: Any) -> FloatArray:
    """Return the unit-norm rows of what `get_*_features` returns: in transformers 5 an object, before it the tensor."""
    embeds = features if isinstance(features, torch.Tensor) else features.pooler_output
    rows: FloatArray = torch.nn.functional.normalize(embeds, dim=-1).float().numpy()
    return rows
