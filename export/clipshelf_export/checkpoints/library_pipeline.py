"""The library's own way from pictures and texts to embeddings: its image processor, its tokenizer and the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from clipshelf.types import FloatArray
from PIL import Image

from clipshelf_export.checkpoints.reference import TextReference, TorchReference
from clipshelf_export.checkpoints.tokenizer_files import load_tokenizer
from clipshelf_export.checkpoints.towers import LibraryPipeline


class TextPipeline:
    """Texts through transformers.

    - `reference`: the model.
    - `tokenizer`: of transformers.
    - `length`: to which the tokenizer pads each text; None to pad to the longest of a batch.
    - `max_tokens`: where the tokenizer cuts a text off.
    """

    def __init__(self, reference: TextReference, tokenizer: Any, *, max_tokens: int, length: int | None = None) -> None:
        self._reference, self._tokenizer = reference, tokenizer
        self._max_tokens, self._length = max_tokens, length

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of texts."""
        padding = {"padding": True} if self._length is None else {"padding": "max_length"}
        batch = self._tokenizer(
            list(texts), truncation=True, max_length=self._length or self._max_tokens, return_tensors="pt", **padding
        )
        ids = batch["input_ids"]
        mask = batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(ids)
        return self._reference.embed_texts(ids.numpy(), mask.numpy())


class TransformersPipeline:
    """Pictures and texts through transformers; a `LibraryPipeline`.

    - `reference`: the model.
    - `transform`: turns pictures into normalised pixels (B, 3, S, S).
    - `tokenizer`, `max_tokens`, `length`: as in `TextPipeline`.
    """

    def __init__(
        self,
        reference: TorchReference,
        transform: Callable[[Sequence[Image.Image]], torch.Tensor],
        tokenizer: Any,
        *,
        max_tokens: int,
        length: int | None = None,
    ) -> None:
        self._reference, self._transform = reference, transform
        self._texts = TextPipeline(reference, tokenizer, max_tokens=max_tokens, length=length)

    @classmethod
    def of(
        cls, folder: Path, reference: TorchReference, max_tokens: int, *, length: int | None = None
    ) -> TransformersPipeline:
        """Return the pipeline of a folder; its image processor computes with Pillow, as the engine does."""
        untyped: Any = transformers  # only half typed
        processor = untyped.AutoImageProcessor.from_pretrained(folder, local_files_only=True, use_fast=False)

        def transform(pictures: Sequence[Image.Image]) -> torch.Tensor:
            values: torch.Tensor = processor(images=list(pictures), return_tensors="pt")["pixel_values"]
            return values

        return cls(reference, transform, load_tokenizer(folder), max_tokens=max_tokens, length=length)

    def embed_images(self, pictures: Sequence[Image.Image]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pictures."""
        return self._reference.embed_pixel_values(self._transform(pictures))

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of texts."""
        return self._texts.embed_texts(texts)


class PairedPipeline:
    """Pictures through one library's way, and texts through a text tower of its own; a `LibraryPipeline`."""

    def __init__(self, pictures: LibraryPipeline, texts: TextPipeline) -> None:
        self._pictures, self._texts = pictures, texts

    def embed_images(self, pictures: Sequence[Image.Image]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pictures."""
        return self._pictures.embed_images(pictures)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of texts."""
        return self._texts.embed_texts(texts)
