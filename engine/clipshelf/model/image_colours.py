"""Colours of pictures: any mode of Pillow to RGB, deep values by their range, and colour profiles to sRGB.

Conversions work on parts of a picture, so that a large one is never there twice.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from clipshelf.model.image_tiles import tiles
from clipshelf.types import Pixels

WHITE = (255, 255, 255)
# The largest values of 8, 10, 12, 14 and 16 bits: a picture of deep values has the depth of its largest.
_DEPTHS = (255, 1023, 4095, 16383, 65535)
_UNIT = 1.0
# A profile counts as sRGB's where it moves no colour of a coarse grid by more levels.
_SAME_COLOUR = 3


def has_transparency(image: Image.Image) -> bool:
    """Whether a picture may be transparent somewhere."""
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has gray values of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def rgb_converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return what converts parts of a loaded picture to RGB: transparency over white, deep values by their range."""
    if is_deep(image):
        scale = _deep_range(np.asarray(part) for _, part in tiles(image))
        return lambda part: _deep_to_rgb(part, scale)
    if has_transparency(image):
        return _over_white
    return lambda part: part if part.mode == "RGB" else part.convert("RGB")


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """A picture of an array of shape (H, W), (H, W, 3) or (H, W, 4).

    - `array`: uint8; uint16, by the depth of its largest value; or floating point from 0 to 1 or from 0 to 255.

    Raises ValueError for another type, shape or range.
    """
    has_channels = array.shape[2:] in ((), (3,), (4,))
    if array.dtype.kind not in "uf" or array.ndim not in (2, 3) or not has_channels or 0 in array.shape:
        raise ValueError("shape or type")
    if array.dtype != np.uint8:
        values = array.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= (255 if array.dtype.kind == "f" else _DEPTHS[-1])):
            raise ValueError(f"values from {low:g} to {high:g}")
        array = _DeepRange(0, _top(high, floats=array.dtype.kind == "f")).to_eight_bits(values)
    return Image.fromarray(np.ascontiguousarray(array))


def to_srgb(square: Image.Image, profile: bytes | None, mode: str) -> Image.Image:
    """Convert RGB pixels by the profile of the picture that they come from.

    - `mode`: that of the picture: "RGB", or "L", of which all three channels are equal.

    Returns the picture itself for a profile that is damaged, of other colours, or as good as sRGB.
    """
    transform = None if profile is None else _transform(_Profile(profile), mode)
    if transform is None:
        return square
    return transform(square.getchannel(0) if mode == "L" else square)


def cmyk_converter(profile: bytes) -> Callable[[Image.Image], Image.Image] | None:
    """Return what converts CMYK pictures by a profile; None for one that is damaged or of other colours."""
    return _transform(_Profile(profile), "CMYK")


@dataclass(frozen=True)
class _DeepRange:
    """Values that become black and white."""

    black: float
    white: float

    def to_eight_bits(self, values: npt.NDArray[Any]) -> Pixels:
        levels = (values.astype(np.float32) - np.float32(self.black)) * np.float32(255 / (self.white - self.black))
        rounded: Pixels = np.clip(np.rint(np.nan_to_num(levels)), 0, 255).astype(np.uint8)
        return rounded


def _deep_range(parts: Iterator[npt.NDArray[Any]]) -> _DeepRange:
    low, high, floats = np.inf, -np.inf, False
    for part in parts:
        floats = part.dtype.kind == "f"
        finite = part[np.isfinite(part)] if floats else part
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise ValueError("a picture without one finite value")
    if low < 0:
        return _DeepRange(low, high if high > low else low + 1)
    return _DeepRange(0, _top(high, floats=floats))


def _top(high: float, *, floats: bool) -> float:
    """The value that becomes white: of floats from 0 to 1 one, else the largest of the depth that holds `high`."""
    if floats and high <= _UNIT:
        return _UNIT
    return next((float(depth) for depth in _DEPTHS if high <= depth), high)


def _deep_to_rgb(part: Image.Image, scale: _DeepRange) -> Image.Image:
    values = np.asarray(part)
    levels = scale.to_eight_bits(values)
    if isinstance(transparent := part.info.get("transparency"), int):
        levels[values == transparent] = WHITE[0]
    return Image.fromarray(levels).convert("RGB")


def _over_white(part: Image.Image) -> Image.Image:
    rgba = part.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*WHITE, 255)), rgba).convert("RGB")


class _Profile:
    """A profile that is compared by its hash, so that the transforms of many pictures are made once."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._key = hashlib.sha256(data).digest()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Profile) and other._key == self._key


@lru_cache(maxsize=16)
def _transform(profile: _Profile, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """What converts pictures of a mode to sRGB; None for a profile that cannot be used or changes next to nothing."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile.data))
        made = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        convert = made.apply
        grid = _grid(mode)
        moved = np.abs(np.asarray(convert(grid)).astype(int) - np.asarray(grid.convert("RGB")).astype(int))
    except (ImportError, ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return convert if mode == "CMYK" or moved.max() > _SAME_COLOUR else None


def _grid(mode: str) -> Image.Image:
    """A picture of colours all over a mode."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    if mode == "CMYK":
        return Image.new("CMYK", (1, 1))
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))
