"""Pillow alone: an encoded picture to pixels, with the steps of transformers' CLIPImageProcessor."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job, Task


class Pillow(Contender):
    """Decode in full, resize the short edge by bicubic interpolation, crop the centre."""

    name = "pillow"
    description = "Pillow's plain decoding, bicubic, crop"
    requires = ("PIL",)
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Pixels only."""
        return {"pixels": self.pixels}

    def pixels(self, job: Job) -> Call:
        """Resize the short edge of each picture to S, and crop the centre S x S."""
        from PIL import Image

        size = job.require_subject().size

        def call(photos: list[bytes]) -> Array:
            squares = []
            for photo in photos:
                picture = Image.open(io.BytesIO(photo)).convert("RGB")
                width, height = (int(size * edge / min(picture.size)) for edge in picture.size)
                picture = picture.resize((width, height), Image.Resampling.BICUBIC)
                left, top = (width - size) // 2, (height - size) // 2
                squares.append(np.asarray(picture.crop((left, top, left + size, top + size))))
            return np.stack(squares)

        return call
