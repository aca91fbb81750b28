"""transformers' CLIPModel on torch in eager mode: the reference, and the usual way to run CLIP."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clipshelf_bench.arrays import Array, Pixels, TokenIds
from clipshelf_bench.contenders.base import MEAN, STD, Call, Contender, Job, Task
from clipshelf_bench.subjects.subject import Subject


class TorchClip(Contender):
    """fp32: the reference that the accuracy of the other contenders is measured against."""

    name: ClassVar[str] = "torch-fp32"
    description = "transformers on torch, fp32"
    requires = ("torch", "transformers")
    dtype: ClassVar[str] = "float32"

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Both towers, and photos and sentences through the checkpoint's own processor."""
        return {"image": self.image, "text": self.text, "photos": self.photos, "sentences": self.sentences}

    def shipped_folder(self, subject: Subject) -> Path | None:
        """The checkpoint itself."""
        return subject.checkpoint

    def image(self, job: Job) -> Call:
        """Normalisation by torch, then the vision tower."""
        torch, model = self.load_once(job, self._model)
        scale = torch.tensor(1 / (255 * STD))
        shift = torch.tensor(MEAN / STD)

        def call(pixels: Pixels) -> Array:
            with torch.inference_mode():
                x = (torch.from_numpy(pixels) * scale - shift).permute(0, 3, 1, 2).contiguous()
                return _to_unit_norm(model.get_image_features(pixel_values=x.to(model.dtype)))

        return call

    def text(self, job: Job) -> Call:
        """The text tower on ids without padding."""
        torch, model = self.load_once(job, self._model)

        def call(ids: TokenIds) -> Array:
            with torch.inference_mode():
                return _to_unit_norm(model.get_text_features(input_ids=torch.from_numpy(ids)))

        return call

    def photos(self, job: Job) -> Call:
        """Pillow, CLIPImageProcessor, the vision tower."""
        from PIL import Image
        from transformers import CLIPImageProcessor

        torch, model = self.load_once(job, self._model)
        processor = CLIPImageProcessor.from_pretrained(job.require_checkpoint())

        def call(photos: list[bytes]) -> Array:
            with torch.inference_mode():
                pictures = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos]
                x = processor(images=pictures, return_tensors="pt")["pixel_values"]
                return _to_unit_norm(model.get_image_features(pixel_values=x.to(model.dtype)))

        return call

    def sentences(self, job: Job) -> Call:
        """CLIPTokenizerFast, which pads to the longest sentence, and the text tower."""
        from transformers import CLIPTokenizerFast

        torch, model = self.load_once(job, self._model)
        tokenizer = CLIPTokenizerFast.from_pretrained(job.require_checkpoint())

        def call(sentences: list[str]) -> Array:
            with torch.inference_mode():
                encoded = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
                return _to_unit_norm(model.get_text_features(**encoded))

        return call

    def _model(self, job: Job) -> tuple[Any, Any]:
        import torch
        from transformers import CLIPModel

        torch.set_num_threads(job.threads)
        model = CLIPModel.from_pretrained(job.require_checkpoint(), dtype=getattr(torch, self.dtype))
        return torch, model.eval()


class TorchClipHalf(TorchClip):
    """bf16, which is fast only on processors with AVX512-BF16 or AMX."""

    name = "torch-bf16"
    description = "transformers on torch, bf16"
    quick = False
    needs_bf16 = True
    dtype = "bfloat16"


def _to_unit_norm(embeds: Any) -> Array:
    embeds = embeds.float()
    return np.asarray(embeds / embeds.norm(dim=-1, keepdim=True))
