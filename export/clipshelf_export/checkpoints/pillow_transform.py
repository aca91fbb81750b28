"""The way of open_clip from pictures to normalised pixels, computed with Pillow: a resize, and a crop of the centre.

https://github.com/pytorch/vision/blob/main/torchvision/transforms/functional.py (resize, center_crop)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clipshelf.types import FloatArray
from PIL import Image

from clipshelf_export.checkpoints.image_rules import ImageRule


def transform_pictures(pictures: Sequence[Image.Image], rule: ImageRule) -> FloatArray:
    """Return the normalised pixels (B, 3, S, S) of pictures.

    - `rule`: the resize rule, the mean and the standard deviation.
    """
    return np.stack([_transform(picture.convert("RGB"), rule) for picture in pictures])


def _transform(image: Image.Image, rule: ImageRule) -> FloatArray:
    spec, (width, height) = rule.spec, image.size
    size = (spec.size, spec.size)
    if spec.resize == "shortest":
        shortest = min(width, height)
        size = (int(spec.resize_to * width / shortest), int(spec.resize_to * height / shortest))
    resized = image.resize(size, getattr(Image.Resampling, spec.resample.upper()))
    left, top = (_margin((edge - spec.size) / 2.0, rule) for edge in size)
    pixels = np.asarray(resized.crop((left, top, left + spec.size, top + spec.size)), np.float32)
    values: FloatArray = ((pixels / 255 - rule.mean) / rule.std).astype(np.float32)
    return values.transpose(2, 0, 1)


def _margin(half: float, rule: ImageRule) -> int:
    return round(half) if rule.spec.crop_rounding == "even" else int(half)
