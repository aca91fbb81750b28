"""Pillow: a JPEG to pixels as most scripts do it, the way that CLIPImageProcessor goes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Contender, Job


class Pillow(Contender):
    """Decode in full, bicubic to the short edge, the middle."""

    name = "pillow"
    about = "Pillow's plain decoding, bicubic, crop"
    requires = ("PIL",)
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Pixels only."""
        return {"pixels": self.pixels}

    def pixels(self, job: Job) -> Call:
        """The decoded picture, scaled until its short edge is S, cut to S x S."""
        from PIL import Image

        size = job.model.size

        def call(photos: list[bytes]) -> Array:
            found = []
            for photo in photos:
                picture = Image.open(io.BytesIO(photo)).convert("RGB")
                width, height = (int(size * edge / min(picture.size)) for edge in picture.size)
                picture = picture.resize((width, height), Image.Resampling.BICUBIC)
                left, top = (width - size) // 2, (height - size) // 2
                found.append(np.asarray(picture.crop((left, top, left + size, top + size))))
            return np.stack(found)

        return call
