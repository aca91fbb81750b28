"""Pictures to pixels: path, bytes, binary file, PIL image or uint8 array to one (S, S, 3) RGB square.

What becomes of each kind of picture, whichever way it is decoded:

    EXIF orientation        applied
    transparency            over white, in every mode that has it
    palette, 1-bit, gray    RGB
    CMYK, YCCK, LAB, HSV    RGB by Pillow's conversion, without colour profiles
    16-bit gray             high byte; 32-bit and float gray alike when a value passes 255
    animation               first frame
    JPEG cut short          read as far as it goes, the rest mid-gray; an error when over half of its rows are missing
    any other broken file   an error that names it
    EPS                     an error: it is a program for Ghostscript, and pictures come from strangers
    past 179 megapixels     an error (Pillow's guard against decompression bombs)
    1 pixel wide or high    scaled like any other

`exact` decoding is transformers' CLIPImageProcessor to the bit on opaque, upright 8-bit pictures:
https://huggingface.co/docs/transformers/model_doc/clip#transformers.CLIPImageProcessor
`fast` decoding lets a JPEG be scaled while it is decoded, to nearly twice the size that is needed or more, and reduces
other large pictures by whole factors first. What it costs in fidelity, and what it saves, is in docs/pictures.md.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipshelf.errors import ImageError, InputError
from clipshelf.model.artifact import ImageSpec
from clipshelf.types import ImageSource, Pixels

Decode = Literal["fast", "exact"]
Size: TypeAlias = tuple[int, int]
Box: TypeAlias = tuple[float, float, float, float]

_RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_WHITE = (255, 255, 255)
_ORIENTATION = 0x0112
_TURNED, _FROM_RIGHT, _FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
# `fast` keeps these factors between what is decoded or reduced and what is needed, so that the final filter has detail
# to work on. Just under 2, so that 1000 pixels are halved for the embedded default's 260 too.
_DECODED = 1.9
_REDUCED = 2.0
# A picture so long that scaling all of it would take more pixels than this is scaled in the middle only, where it is
# cropped; the same pixels to within one level.
_LARGEST = 1 << 25
_END_OF_JPEG = b"\xff\xd9"


@dataclass(frozen=True)
class Decoded:
    """An upright RGB picture that may have been decoded smaller than it is.

    `size` is that of the whole picture, `box` where it lies in `image`: the last row and column of a scaled JPEG may
    stand for less than a pixel of their own.
    """

    image: Image.Image
    size: Size
    box: Box

    @classmethod
    def whole(cls, image: Image.Image) -> Decoded:
        """A picture at its own size."""
        return cls(image, image.size, (0, 0, *image.size))


def read_rgb(source: ImageSource) -> Image.Image:
    """Decode a picture to upright RGB over white; raises ImageError naming the picture and what was wrong with it."""
    return _read(source, None).image


def _read(source: ImageSource, needed: Callable[[int, int], Size] | None) -> Decoded:
    """`needed(width, height)` says which size of an upright picture will do, so that a JPEG can be decoded smaller."""
    try:
        if isinstance(source, np.ndarray):
            return Decoded.whole(_flatten(_from_array(source)))
        if isinstance(source, Image.Image):
            return Decoded.whole(_flatten(ImageOps.exif_transpose(source)))
        return _decode(_read_bytes(source), needed)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{describe(source)}: expected a picture, found bytes of no known format") from error
    except Exception as error:  # a broken file makes Pillow's decoders raise whatever its bytes lead them to
        raise ImageError(f"{describe(source)}: expected a picture, found: {_reason(error)}") from error


def describe(source: object) -> str:
    """A short name of a picture for messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"array of {source.dtype} {source.shape}"
    return str(getattr(source, "name", type(source).__name__))


def _reason(error: Exception) -> str:
    """What went wrong, without the path, which the message names already."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class ImageReader:
    """Turns pictures into the square of an `ImageSpec`; `decode` is "fast" or "exact"."""

    def __init__(self, spec: ImageSpec, decode: Decode = "fast") -> None:
        if decode not in get_args(Decode):
            raise InputError(f"decode: expected one of {', '.join(get_args(Decode))}, found {decode!r}")
        self.spec = spec
        self.decode = decode

    def read(self, source: ImageSource) -> Pixels:
        """Read one picture to (S, S, 3) uint8 RGB; raises ImageError."""
        return self.square(self.open(source))

    def open(self, source: ImageSource) -> Decoded:
        """Decode one picture, no larger than `square` needs it where that is faster; raises ImageError."""
        return _read(source, self._needed if self.decode == "fast" else None)

    def square(self, picture: Decoded) -> Pixels:
        """Scale a picture and crop or pad it to (S, S, 3) uint8 RGB."""
        size, (width, height) = self.spec.size, self._scaled(*picture.size)
        if self.spec.resize == "shortest" and width * height > _LARGEST:
            return np.asarray(self._resize_middle(picture, width, height))
        resized = self._resize(picture.image, (width, height), picture.box)
        if resized.size == (size, size):
            return np.asarray(resized)
        left, top = (width - size) // 2, (height - size) // 2
        if self.spec.resize == "shortest":
            return np.asarray(resized.crop((left, top, left + size, top + size)))
        square = Image.new("RGB", (size, size), _WHITE)
        square.paste(resized, (-left, -top))
        return np.asarray(square)

    def _scaled(self, width: int, height: int) -> Size:
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

    def _needed(self, width: int, height: int) -> Size:
        """The size that `fast` decodes an upright picture of width x height to, at the least."""
        scaled = self._scaled(width, height)
        return int(_DECODED * scaled[0]), int(_DECODED * scaled[1])

    def _resize(self, image: Image.Image, size: Size, box: Box) -> Image.Image:
        if image.size == size and box == (0, 0, *size):
            return image
        gap = _REDUCED if self.decode == "fast" else None
        return image.resize(size, _RESAMPLE[self.spec.resample], box=box, reducing_gap=gap)

    def _resize_middle(self, picture: Decoded, width: int, height: int) -> Image.Image:
        """The centre square of the picture scaled to width x height, without making the rest of it."""
        size, (left, top, right, bottom) = self.spec.size, picture.box
        across, down = (right - left) / width, (bottom - top) / height
        left, top = left + (width - size) // 2 * across, top + (height - size) // 2 * down
        box = left, top, min(right, left + size * across), min(bottom, top + size * down)
        return self._resize(picture.image, (size, size), box)


def _read_bytes(source: Any) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:  # noqa: PTH123  (a path of any kind)
            return file.read()
    data = source.read()
    if not isinstance(data, bytes):
        raise TypeError(f"a file of {type(data).__name__}, not of bytes")
    return data


def _decode(data: bytes, needed: Callable[[int, int], Size] | None) -> Decoded:
    with Image.open(io.BytesIO(data)) as image:
        if image.format == "EPS":
            raise ValueError("EPS, which is not decoded but run")
        orientation, stored = image.getexif().get(_ORIENTATION, 1), image.size
        scaled = None
        if needed is not None:
            step = -1 if orientation in _TURNED else 1
            width, height = needed(*stored[::step])[::step]
            scaled = image.draft(None, (width, height))
        try:
            image.load()
        except OSError as error:
            if image.format in ("JPEG", "MPO") and not data.endswith(_END_OF_JPEG):
                return _decode_cut_short(data, needed, error)
            raise
        upright = _flatten(ImageOps.exif_transpose(image))
    return Decoded.whole(upright) if scaled is None else _turned(upright, stored, scaled[1][2:], orientation)


def _turned(upright: Image.Image, stored: Size, part: tuple[float, float], orientation: int) -> Decoded:
    """A JPEG of size `stored`, decoded so that `part` (width, height) of its pixels hold it, after it was turned."""
    (width, height), size = part, stored
    if orientation in _TURNED:
        (height, width), size = part, (stored[1], stored[0])
    left = upright.width - width if orientation in _FROM_RIGHT else 0
    top = upright.height - height if orientation in _FROM_BELOW else 0
    return Decoded(upright, size, (left, top, left + width, top + height))


def _decode_cut_short(data: bytes, needed: Callable[[int, int], Size] | None, error: OSError) -> Decoded:
    """What is there of a JPEG: libjpeg fills the rest with mid-gray once the end is marked."""
    picture = _decode(data + _END_OF_JPEG, needed)
    filled = np.asarray(picture.image.convert("L")) == 128
    missing = max(filled.all(axis=axis).mean() for axis in (0, 1))  # rows may have become columns by EXIF
    if missing > 0.5:
        raise OSError(f"{error}; {missing:.0%} of the rows are missing") from error
    return picture


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    channels = array.shape[2:] in ((), (3,), (4,))
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not channels or 0 in array.shape:
        raise ImageError(f"expected uint8 of shape (H, W), (H, W, 3) or (H, W, 4), found {describe(array)}")
    return Image.fromarray(np.ascontiguousarray(array))


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to RGB, transparency over white."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (*_WHITE, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep gray to 8 bits: 65535 becomes 255, and what already fits 0..255 stays as it is."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
