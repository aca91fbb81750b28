"""Decoded pictures, shrunk to about what is needed as soon as they are decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from PIL import Image

from clipshelf.model.containers.container import Size
from clipshelf.model.image_colours import cmyk_converter, has_transparency, is_deep, rgb_converter
from clipshelf.model.image_tiles import MIRRORS_X, MIRRORS_Y, put_upright, tiles, turned

Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom

# Larger pictures are shrunk as soon as they are decoded, and not held at full size while they wait for the next step.
_SHRUNK_FROM = 1 << 20


@dataclass(frozen=True)
class Shrinking:
    """How much of an upright picture is needed.

    - `smallest`: (width, height) that a JPEG may be decoded to; None for its own size.
    - `factors`: whole factors by which width and height are reduced.
    - `scaled`: (width, height) to which all of it is resized by `resample`; None keeps it.
    - `profile`: whether colours are converted by the profile of the picture.
    """

    smallest: Size | None = None
    factors: tuple[int, int] = (1, 1)
    scaled: Size | None = None
    resample: Image.Resampling = Image.Resampling.BICUBIC
    profile: bool = False

    def reduced(self, size: Size) -> Size:
        """(width, height) of a picture of this size that is reduced by the factors."""
        return -(-size[0] // self.factors[0]), -(-size[1] // self.factors[1])


Shrink: TypeAlias = Callable[[int, int], Shrinking]


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB picture that may have been decoded smaller than it is.

    - `image`: the pixels.
    - `size`: that of the whole picture.
    - `box`: where the whole picture lies in `image`; the last row and column of a scaled JPEG may stand for a fraction
      of a pixel.
    - `profile`: the ICC profile of the pixels; None where they are sRGB, as far as is known.
    - `mode`: what the profile applies to, "RGB" or "L".
    """

    image: Image.Image
    size: Size
    box: Box
    profile: bytes | None = None
    mode: str = "RGB"

    @classmethod
    def at_full_size(cls, image: Image.Image) -> DecodedImage:
        """A picture at its own size."""
        return cls(image, image.size, (0, 0, *image.size))


def needed(shrink: Shrink | None, stored_size: Size, turn: int) -> Shrinking:
    """How much is needed of a picture of `stored_size`; a small one is kept as it is."""
    if shrink is None:
        return Shrinking()
    shrinking = shrink(*turned(stored_size, turn))
    if stored_size[0] * stored_size[1] < _SHRUNK_FROM:
        return replace(shrinking, factors=(1, 1), scaled=None)
    return shrinking


def result_memory(image: Image.Image, turn: int, shrinking: Shrinking) -> int:
    """Bytes of the upright RGB picture that is made beside the decoded one."""
    size = turned(image.size, turn)
    reduced = shrinking.reduced(size)
    if reduced == size and turn == 1 and image.mode == "RGB" and not has_transparency(image):
        return 0
    return 4 * reduced[0] * reduced[1]


def to_upright(image: Image.Image, turn: int, shrinking: Shrinking, profile: bytes | None) -> DecodedImage:
    """Put a loaded picture upright, in RGB, and shrink it.

    - `turn`: its EXIF orientation.
    - `profile`: its ICC profile, which is kept for later unless it is of inks; those are converted now.
    """
    size = turned(image.size, turn)
    profile = profile if shrinking.profile else None
    gray = image.mode in ("1", "L", "LA", "La") or is_deep(image)
    by_profile = None
    if image.mode == "CMYK" and profile is not None:
        by_profile, profile = cmyk_converter(profile), None
    # ink is shrunk before it is converted by a profile, which takes long
    mode, convert = ("RGB", rgb_converter(image)) if by_profile is None else ("CMYK", _unchanged)
    upright = _reduced(image, turn, shrinking.factors, mode, convert)
    if by_profile is not None:
        upright = by_profile(upright)
    if shrinking.scaled is not None:
        upright = upright.resize(shrinking.scaled, shrinking.resample)
        box: Box = (0, 0, *shrinking.scaled)
    else:
        box = (0, 0, size[0] / shrinking.factors[0], size[1] / shrinking.factors[1])
    return DecodedImage(upright, size, box, profile, "L" if gray else "RGB")


def _reduced(
    image: Image.Image, turn: int, factors: tuple[int, int], mode: str, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """A picture put upright, converted to a mode, and reduced by whole factors; part by part, where it is large."""
    is_whole = factors == (1, 1)
    is_ready = image.mode == mode and not has_transparency(image)
    if is_ready and (turn == 1 or is_whole):
        return put_upright(image, turn) if is_whole else image.reduce(factors)
    width, height = turned(image.size, turn)
    if is_whole and width * height < _SHRUNK_FROM:
        return convert(put_upright(image, turn))
    upright = Image.new(mode, (-(-width // factors[0]), -(-height // factors[1])))
    for (left, top), tile in tiles(image, turn, factors):
        part = convert(tile)
        upright.paste(part if is_whole else part.reduce(factors), (left // factors[0], top // factors[1]))
    return upright


def _unchanged(image: Image.Image) -> Image.Image:
    return image


def locate(picture: DecodedImage, stored_size: Size, used: tuple[float, float], turn: int) -> DecodedImage:
    """Where the whole picture lies in a JPEG that was decoded smaller and put upright.

    Before that, the picture had the size `stored_size`, and filled the first `used` (width, height) decoded pixels.
    """
    upright = picture.image
    width, height = turned(used, turn)
    left = upright.width - width if turn in MIRRORS_X else 0
    top = upright.height - height if turn in MIRRORS_Y else 0
    return replace(picture, size=turned(stored_size, turn), box=(left, top, left + width, top + height))
