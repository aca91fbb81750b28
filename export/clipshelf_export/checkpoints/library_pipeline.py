"""The library's own way from pictures and texts to embeddings: its image processor, its tokenizer and the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from clipshelf.types import FloatArray
from PIL import Image

from clipshelf_export.checkpoints.reference import TorchReference
from clipshelf_export.checkpoints.tokenizer_files import load_tokenizer


class TransformersPipeline:
    """Pictures and texts through transformers; a `LibraryPipeline`.

    - `reference`: the model.
    - `image_processor`, `tokenizer`: of transformers.
    - `length`: to which the tokenizer pads each text; None to pad to the longest of a batch.
    - `max_tokens`: where the tokenizer cuts a text off.
    """

    def __init__(
        self,
        reference: TorchReference,
        image_processor: Any,
        tokenizer: Any,
        *,
        max_tokens: int,
        length: int | None = None,
    ) -> None:
        self._reference, self._image_processor, self._tokenizer = reference, image_processor, tokenizer
        self._max_tokens, self._length = max_tokens, length

    @classmethod
    def of(
        cls, folder: Path, reference: TorchReference, max_tokens: int, *, length: int | None = None
    ) -> TransformersPipeline:
        """Return the pipeline of a folder; its image processor computes with Pillow, as the engine does."""
        untyped: Any = transformers  # only half typed
        processor = untyped.AutoImageProcessor.from_pretrained(folder, local_files_only=True, use_fast=False)
        return cls(reference, processor, load_tokenizer(folder), max_tokens=max_tokens, length=length)

    def embed_images(self, pictures: Sequence[Image.Image]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of pictures."""
        values = self._image_processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        return self._reference.embed_pixel_values(values)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit-norm embeddings (B, D) of texts."""
        padding = {"padding": True} if self._length is None else {"padding": "max_length"}
        batch = self._tokenizer(
            list(texts), truncation=True, max_length=self._length or self._max_tokens, return_tensors="pt", **padding
        )
        ids = batch["input_ids"]
        mask = batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(ids)
        return self._reference.embed_texts(ids.numpy(), mask.numpy())
