"""Pictures to pixels: path, bytes, binary file, PIL image or uint8 array to one (S, S, 3) RGB square.

EXIF orientation is applied, transparency is laid over white, an animation gives its first frame, 16-bit gray is scaled
to 8 bits. The square is made as the artifact's `ImageSpec` says; for CLIP that is transformers' CLIPImageProcessor:
https://huggingface.co/docs/transformers/model_doc/clip#transformers.CLIPImageProcessor
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from clipshelf.artifact import ImageSpec
from clipshelf.errors import ImageError
from clipshelf.types import ImageSource, Pixels

_RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_WHITE = (255, 255, 255)


def read_rgb(source: ImageSource) -> Image.Image:
    """Decode a picture to upright RGB over white.

    Raises ImageError naming the picture and what was wrong with it.
    """
    try:
        if isinstance(source, np.ndarray):
            return _flatten(_from_array(source))
        if isinstance(source, Image.Image):
            return _flatten(ImageOps.exif_transpose(source))
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return _flatten(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{describe(source)}: expected a picture, found: {error or type(error).__name__}") from error


def describe(source: object) -> str:
    """A short name of a picture for messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"array of {source.dtype} {source.shape}"
    return str(getattr(source, "name", type(source).__name__))


class ImageReader:
    """Turns pictures into the square of an `ImageSpec`."""

    def __init__(self, spec: ImageSpec) -> None:
        self.spec = spec

    def read(self, source: ImageSource) -> Pixels:
        """Read one picture to (S, S, 3) uint8 RGB; raises ImageError."""
        image = read_rgb(source)
        resized = {"shortest": self._shortest, "pad": self._pad, "squash": self._squash}[self.spec.resize](image)
        return np.asarray(resized)

    def _resize(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        return image if image.size == size else image.resize(size, _RESAMPLE[self.spec.resample])

    def _shortest(self, image: Image.Image) -> Image.Image:
        size, short = self.spec.size, self.spec.resize_to
        width, height = image.size
        if width <= height:
            image = self._resize(image, (short, int(short * height / width)))
        else:
            image = self._resize(image, (int(short * width / height), short))
        left, top = (image.width - size) // 2, (image.height - size) // 2
        return image.crop((left, top, left + size, top + size))

    def _pad(self, image: Image.Image) -> Image.Image:
        size = self.spec.size
        scale = size / max(image.size)
        width, height = (max(1, round(edge * scale)) for edge in image.size)
        square = Image.new("RGB", (size, size), _WHITE)
        square.paste(self._resize(image, (width, height)), ((size - width) // 2, (size - height) // 2))
        return square

    def _squash(self, image: Image.Image) -> Image.Image:
        return self._resize(image, (self.spec.size, self.spec.size))


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    channels = array.shape[2:] in ((), (3,), (4,))
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not channels or 0 in array.shape:
        raise ImageError(f"expected uint8 of shape (H, W), (H, W, 3) or (H, W, 4), found {describe(array)}")
    return Image.fromarray(np.ascontiguousarray(array))


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to RGB, transparency over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image if type(image) is Image.Image else image.copy()
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (*_WHITE, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit gray to 8 bits by its high byte; 32-bit and float gray that already fit 0..255 stay as they are."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
