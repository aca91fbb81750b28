"""Pictures to pixels: any picture to the (S, S, 3) RGB square that a vision tower takes.

`exact` decoding is transformers' CLIPImageProcessor to the bit on opaque, upright 8-bit pictures:
https://huggingface.co/docs/transformers/model_doc/clip#transformers.CLIPImageProcessor
`fast` decoding lets a JPEG be scaled while it is decoded, and reduces other large pictures by whole factors first.
docs/pictures.md says what it costs in fidelity and what it saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from clipshelf.errors import InputError
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.containers.container import Size
from clipshelf.model.image_colours import WHITE, to_srgb
from clipshelf.model.image_decoding import decode_image
from clipshelf.model.image_limits import ImageLimits, default_limits
from clipshelf.model.image_shrinking import Box, DecodedImage, Shrinking
from clipshelf.model.image_sources import CroppedImage
from clipshelf.types import ImageSource, Pixels

Decode: TypeAlias = Literal["fast", "exact"]

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
# `fast` keeps these factors between what is decoded or reduced and what is needed, so that the final filter has detail
# to work on. The first is just under 2, so that 1000 pixels are halved for the default model's 260 too.
_DECODED_FACTOR = 1.9
_REDUCING_GAP = 2.0
# A picture so long that all of it would be scaled to more pixels than this is scaled in the middle only, where it is
# cropped; the same pixels to within one level.
_LARGEST_SCALED_AREA = 1 << 25


@dataclass(frozen=True)
class PreparedImage:
    """A picture that was decoded ahead of its embedding (`Engine.prepare_image`).

    - `square`: (S, S, 3) uint8 RGB.
    - `spec`: how it was scaled, cropped or padded; it must be that of the engine that embeds it.
    """

    square: Pixels
    spec: ImageSpec


class ImageReader:
    """Turns pictures into the square of an artifact.

    - `spec`: how a picture is scaled, cropped or padded.
    - `decode`: "fast" or "exact", see the module.
    - `limits`: what a picture may cost; None for those of `default_limits`.

    Raises InputError on another `decode`.
    """

    def __init__(self, spec: ImageSpec, decode: Decode = "fast", limits: ImageLimits | None = None) -> None:
        if decode not in get_args(Decode):
            raise InputError(f"decode: expected one of {', '.join(get_args(Decode))}, found {decode!r}")
        self.spec = spec
        self.decode = decode
        self.limits = limits or default_limits()

    def read(self, source: ImageSource | CroppedImage) -> Pixels:
        """Read one picture to (S, S, 3) uint8 RGB.

        - `source`: as in `clipshelf.model.image_decoding.decode_image`.

        Raises ImageError, which names the picture and what is wrong with it.
        """
        return self.square(self.open(source))

    def open(self, source: ImageSource | CroppedImage) -> DecodedImage:
        """Decode one picture, no larger than `square` needs it; parameters and errors as in `read`."""
        return decode_image(source, self._shrinking, self.limits)

    def square(self, picture: DecodedImage) -> Pixels:
        """Scale a decoded picture and crop or pad it to (S, S, 3) uint8 RGB."""
        return np.asarray(to_srgb(self._square(picture), picture.profile, picture.mode))

    def _square(self, picture: DecodedImage) -> Image.Image:
        size, (width, height) = self.spec.size, self._scaled_size(*picture.size)
        if self._scales_middle(width, height):
            return self._resize_middle(picture, width, height)
        resized = self._resize(picture.image, (width, height), picture.box)
        if resized.size == (size, size):
            return resized
        if self.spec.resize == "shortest":
            left, top = self._margin(width), self._margin(height)
            return resized.crop((left, top, left + size, top + size))
        left, top = (width - size) // 2, (height - size) // 2
        square = Image.new("RGB", (size, size), WHITE)
        square.paste(resized, (-left, -top))
        return square

    def _scales_middle(self, width: int, height: int) -> bool:
        return self.spec.resize == "shortest" and width * height > _LARGEST_SCALED_AREA

    def _margin(self, edge: int) -> int:
        """Pixels of a scaled edge before the centre square."""
        margin = edge - self.spec.size
        return margin // 2 if self.spec.crop_rounding == "down" else round(margin / 2)

    def _scaled_size(self, width: int, height: int) -> Size:
        """Size of the whole picture after scaling, before it is cropped or padded."""
        spec = self.spec
        if spec.resize == "squash":
            return spec.size, spec.size
        if spec.resize == "pad":
            longest = max(width, height)
            return max(1, round(spec.size * width / longest)), max(1, round(spec.size * height / longest))
        if width <= height:
            return spec.resize_to, int(spec.resize_to * height / width)
        return int(spec.resize_to * width / height), spec.resize_to

    def _shrinking(self, width: int, height: int) -> Shrinking:
        """How much of an upright picture of width x height is needed; `square` makes the same of it as of all."""
        scaled = self._scaled_size(width, height)
        whole = self._scales_middle(*scaled)
        if self.decode == "exact":
            return Shrinking(scaled=None if whole else scaled, resample=_RESAMPLING[self.spec.resample])
        factors = tuple(
            max(1, int(edge / to / _REDUCING_GAP)) for edge, to in zip((width, height), scaled, strict=True)
        )
        smallest = int(_DECODED_FACTOR * scaled[0]), int(_DECODED_FACTOR * scaled[1])
        return Shrinking(smallest, (1, 1) if whole else (factors[0], factors[1]), profile=True)

    def _resize(self, image: Image.Image, size: Size, box: Box) -> Image.Image:
        if image.size == size and box == (0, 0, *size):
            return image
        reducing_gap = _REDUCING_GAP if self.decode == "fast" else None
        return image.resize(size, _RESAMPLING[self.spec.resample], box=box, reducing_gap=reducing_gap)

    def _resize_middle(self, picture: DecodedImage, width: int, height: int) -> Image.Image:
        """The centre square of the picture scaled to width x height, without the rest of it."""
        size, (left, top, right, bottom) = self.spec.size, picture.box
        across, down = (right - left) / width, (bottom - top) / height  # pixels of the picture for one of the square
        left, top = left + self._margin(width) * across, top + self._margin(height) * down
        box = left, top, min(right, left + size * across), min(bottom, top + size * down)
        return self._resize(picture.image, (size, size), box)
