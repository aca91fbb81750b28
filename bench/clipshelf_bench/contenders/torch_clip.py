"""transformers' CLIPModel on torch, eager: the reference, and what most people run."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import MEAN, STD, Call, Contender, Job
from clipshelf_bench.subjects.subject import Subject


class TorchClip(Contender):
    """fp32, the accuracy reference of every other contender."""

    name: ClassVar[str] = "torch-fp32"
    about = "transformers on torch, fp32"
    requires = ("torch", "transformers")
    dtype: ClassVar[str] = "float32"

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """The towers, and bytes or sentences through the checkpoint's own processor."""
        return {"image": self.image, "text": self.text, "photos": self.photos, "sentences": self.sentences}

    def disk(self, subject: Subject) -> Path | None:
        """The checkpoint itself."""
        return subject.checkpoint

    def image(self, job: Job) -> Call:
        """Normalisation by torch, then the vision tower."""
        torch, model = self.once(job, self._model)
        scale = torch.tensor(1 / (255 * STD))
        shift = torch.tensor(MEAN / STD)

        def call(pixels: Pixels) -> Array:
            with torch.inference_mode():
                x = (torch.from_numpy(pixels) * scale - shift).permute(0, 3, 1, 2).contiguous()
                return _unit(model.get_image_features(pixel_values=x.to(model.dtype)))

        return call

    def text(self, job: Job) -> Call:
        """The text tower on unpadded ids."""
        torch, model = self.once(job, self._model)

        def call(ids: TokenIds) -> Array:
            with torch.inference_mode():
                return _unit(model.get_text_features(input_ids=torch.from_numpy(ids)))

        return call

    def photos(self, job: Job) -> Call:
        """Pillow, CLIPImageProcessor, the vision tower."""
        from PIL import Image
        from transformers import CLIPImageProcessor

        torch, model = self.once(job, self._model)
        processor = CLIPImageProcessor.from_pretrained(job.model.source)

        def call(photos: list[bytes]) -> Array:
            with torch.inference_mode():
                pictures = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos]
                x = processor(images=pictures, return_tensors="pt")["pixel_values"]
                return _unit(model.get_image_features(pixel_values=x.to(model.dtype)))

        return call

    def sentences(self, job: Job) -> Call:
        """CLIPTokenizerFast with padding to the longest, the text tower."""
        from transformers import CLIPTokenizerFast

        torch, model = self.once(job, self._model)
        tokenizer = CLIPTokenizerFast.from_pretrained(job.model.source)

        def call(sentences: list[str]) -> Array:
            with torch.inference_mode():
                encoded = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
                return _unit(model.get_text_features(**encoded))

        return call

    def _model(self, job: Job) -> tuple[Any, Any]:
        import torch
        from transformers import CLIPModel

        torch.set_num_threads(job.threads)
        model = CLIPModel.from_pretrained(job.model.source, dtype=getattr(torch, self.dtype))
        return torch, model.eval()


class TorchClipHalf(TorchClip):
    """bf16, fast only on processors with AVX512-BF16 or AMX."""

    name = "torch-bf16"
    about = "transformers on torch, bf16"
    quick = False
    needs_bf16 = True
    dtype = "bfloat16"


def _unit(embeds: Any) -> Array:
    embeds = embeds.float()
    return np.asarray(embeds / embeds.norm(dim=-1, keepdim=True))
