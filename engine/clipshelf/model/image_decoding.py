"""Decodes pictures: path, bytes, binary file, PIL image or uint8 array to an upright RGB picture.

What becomes of each kind of picture:

    EXIF orientation        applied
    transparency            over white, in every mode that has it
    palette, 1-bit, gray    RGB
    CMYK, YCCK, LAB, HSV    RGB by Pillow's conversion, without colour profiles
    16-bit gray             high byte; 32-bit and float gray alike when a value passes 255
    animation               first frame
    JPEG cut short          read as far as it goes, the rest mid-gray; an error when over half of its rows are missing
    any other broken file   an error that names it
    EPS                     an error: it is a program for Ghostscript, and pictures come from strangers
    IPTC                    an error: Pillow decodes the file inside it, whatever its kind, EPS included
    WMF, EMF                an error: a list of calls that only Windows can draw
    past 179 megapixels     an error (Pillow's guard against decompression bombs)
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clipshelf.errors import ImageError
from clipshelf.types import ImageSource

Size: TypeAlias = tuple[int, int]  # width, height
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom
SmallestSize: TypeAlias = Callable[[int, int], Size]

WHITE = (255, 255, 255)
_END_OF_JPEG = b"\xff\xd9"
_GRAY_OF_MISSING_ROWS = 128  # libjpeg's, once the end is marked
_LARGEST_MISSING_SHARE = 0.5
# Formats of Pillow that are refused before any of their data is decoded, and why. Of all that Pillow opens, only these
# start a program, decode a file of another kind, or leave the drawing to the operating system.
_REFUSED_FORMATS = {
    "EPS": "EPS, which is not decoded but run",
    "IPTC": "IPTC, which may hold a file that is not decoded but run",
    "WMF": "WMF or EMF, which is not decoded but drawn by Windows",
}
# EXIF tag 0x0112, and its values by what they do to a stored picture (Exif 2.32, section 4.6.4)
_ORIENTATION = 0x0112
_SWAPS_AXES, _MIRRORS_X, _MIRRORS_Y = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB picture that may have been decoded smaller than it is.

    - `image`: the pixels.
    - `size`: that of the whole picture.
    - `box`: where the whole picture lies in `image`; the last row and column of a scaled JPEG may stand for a fraction
      of a pixel.
    """

    image: Image.Image
    size: Size
    box: Box

    @classmethod
    def at_full_size(cls, image: Image.Image) -> DecodedImage:
        """A picture at its own size."""
        return cls(image, image.size, (0, 0, *image.size))


def read_rgb(source: ImageSource) -> Image.Image:
    """Decode a picture to upright RGB at its own size.

    - `source`: path, bytes, binary file, PIL image, or uint8 array (H, W), (H, W, 3) or (H, W, 4).

    Raises ImageError, which names the picture and what is wrong with it.
    """
    return decode_image(source).image


def decode_image(source: ImageSource, smallest_size: SmallestSize | None = None) -> DecodedImage:
    """Decode a picture to upright RGB.

    - `source`: as in `read_rgb`.
    - `smallest_size`: given the (width, height) of the upright picture, returns the size that is enough, so that a JPEG
      may be decoded at a fraction of its size. None decodes every picture at its own size.

    Raises ImageError, which names the picture and what is wrong with it.
    """
    try:
        if isinstance(source, np.ndarray):
            return DecodedImage.at_full_size(_to_rgb(_from_array(source)))
        if isinstance(source, Image.Image):
            return DecodedImage.at_full_size(_to_rgb(ImageOps.exif_transpose(source)))
        return _decode_file(_read_bytes(source), smallest_size)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{source_name(source)}: expected a picture, found bytes of no known format") from error
    except Exception as error:  # a broken file makes Pillow's decoders raise whatever its bytes lead them to
        raise ImageError(f"{source_name(source)}: expected a picture, found: {_reason(error)}") from error


def source_name(source: object) -> str:
    """A short name of a picture for messages: its path, its number of bytes, or its type."""
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


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    has_channels = array.shape[2:] in ((), (3,), (4,))
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not has_channels or 0 in array.shape:
        raise ImageError(f"expected uint8 of shape (H, W), (H, W, 3) or (H, W, 4), found {source_name(array)}")
    return Image.fromarray(np.ascontiguousarray(array))


def _decode_file(data: bytes, smallest_size: SmallestSize | None) -> DecodedImage:
    with Image.open(io.BytesIO(data)) as image:
        if image.format in _REFUSED_FORMATS:
            raise ValueError(_REFUSED_FORMATS[image.format])
        orientation, stored_size = image.getexif().get(_ORIENTATION, 1), image.size
        draft = None
        if smallest_size is not None:
            step = -1 if orientation in _SWAPS_AXES else 1
            width, height = smallest_size(*stored_size[::step])[::step]
            draft = image.draft(None, (width, height))
        try:
            image.load()
        except OSError as error:
            if image.format in ("JPEG", "MPO") and not data.endswith(_END_OF_JPEG):
                return _decode_cut_jpeg(data, smallest_size, error)
            raise
        upright = _to_rgb(ImageOps.exif_transpose(image))
    if draft is None:
        return DecodedImage.at_full_size(upright)
    _, box = draft
    return _locate(upright, stored_size, box[2:], orientation)


def _locate(upright: Image.Image, stored_size: Size, used: tuple[float, float], orientation: int) -> DecodedImage:
    """Where the whole picture lies in a JPEG that was decoded smaller and put upright.

    Before that, the picture had the size `stored_size`, and filled the first `used` (width, height) decoded pixels.
    """
    (width, height), size = used, stored_size
    if orientation in _SWAPS_AXES:
        (height, width), size = used, (stored_size[1], stored_size[0])
    left = upright.width - width if orientation in _MIRRORS_X else 0
    top = upright.height - height if orientation in _MIRRORS_Y else 0
    return DecodedImage(upright, size, (left, top, left + width, top + height))


def _decode_cut_jpeg(data: bytes, smallest_size: SmallestSize | None, error: OSError) -> DecodedImage:
    """Decode as much as there is of a JPEG; libjpeg fills the rest with mid-gray once the end is marked."""
    picture = _decode_file(data + _END_OF_JPEG, smallest_size)
    filled = np.asarray(picture.image.convert("L")) == _GRAY_OF_MISSING_ROWS
    missing = max(filled.all(axis=axis).mean() for axis in (0, 1))  # rows may have become columns by EXIF
    if missing > _LARGEST_MISSING_SHARE:
        raise OSError(f"{error}; {missing:.0%} of the rows are missing") from error
    return picture


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB, transparency over white."""
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (*WHITE, 255))
        return Image.alpha_composite(canvas, rgba).convert("RGB")
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_eight_bits(image)
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Deep gray to 8 bits: 65535 becomes 255, and values that fit 0 to 255 already stay as they are."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
