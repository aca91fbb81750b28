"""Decodes pictures: a path, bytes, a stream, a PIL image or an array to an upright RGB picture.

docs/pictures.md says what becomes of each kind of picture, and what is refused. The steps, each in a module of its own:

    image_sources   encoded bytes of a regular file, a stream, a data: URI
    image_formats   the format that the first bytes show, if it is one that is decoded
    containers      size, cost and orientation from the header; metadata left out, which may be damaged
    image_limits    what a picture may cost; memory that all decoders of the process share
    image_colours   any mode to RGB
    image_shrinking what is needed of a picture, put upright part by part, so that a large one is never there twice
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from clipshelf.errors import ImageError
from clipshelf.model.containers.container import Container, PieceStream, Size
from clipshelf.model.containers.jpeg import END_OF_IMAGE
from clipshelf.model.containers.metadata import ORIENTATION, orientation
from clipshelf.model.image_colours import from_array, rgb_converter
from clipshelf.model.image_formats import (
    UnknownFormatError,
    decodable_formats,
    describe_refused,
    inspect,
    open_picture,
    title,
)
from clipshelf.model.image_limits import SHARED_MEMORY, Deadline, ImageLimits
from clipshelf.model.image_shrinking import (
    DecodedImage,
    Shrink,
    Shrinking,
    locate,
    needed,
    result_memory,
    to_upright,
)
from clipshelf.model.image_sources import CroppedImage, read_encoded, source_name
from clipshelf.model.image_tiles import turned
from clipshelf.types import ImageSource

DEFAULT_LIMITS = ImageLimits()

_GRAY_OF_MISSING_ROWS = 128  # libjpeg's, once the end is marked
_LARGEST_MISSING_SHARE = 0.5
_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# A pixel of the longest edge: 32 bytes of Pillow's coefficients when it is resized, and two rows of its decoder.
_BYTES_PER_EDGE_PIXEL = 48


def read_rgb(source: ImageSource | CroppedImage, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode a picture to upright RGB at its own size, without its colour profile.

    - `source`: as in `decode_image`.
    - `limits`: what it may cost.

    Raises ImageError, which names the picture and what is wrong with it.
    """
    return decode_image(source, limits=limits).image


def decode_image(
    source: ImageSource | CroppedImage, shrink: Shrink | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> DecodedImage:
    """Decode a picture to upright RGB.

    - `source`: a path; bytes, bytearray or memoryview; a binary stream, which is rewound if it can be; a data: URI; a
      dict with "bytes" or "path"; a PIL image; an array of shape (H, W), (H, W, 3) or (H, W, 4), uint8, uint16, or
      floating point from 0 to 1 or 0 to 255; or a `CroppedImage` of these.
    - `shrink`: given (width, height) of the upright picture, returns how much of it is needed; None keeps all.
    - `limits`: what it may cost.

    Raises ImageError, which names the picture and what is wrong with it.
    """
    if isinstance(source, CroppedImage):
        return _cropped(source, shrink, limits)
    try:
        if isinstance(source, np.ndarray):
            return DecodedImage.at_full_size(_from_array(source))
        if isinstance(source, Image.Image):
            return _decode_pil(source, shrink, limits)
        return _Decoder(read_encoded(source, limits), shrink, limits).decode()
    except ImageError:
        raise
    except UnknownFormatError as error:
        raise ImageError(f"{source_name(source)}: expected a picture, found {error}") from error
    except MemoryError as error:
        raise ImageError(f"{source_name(source)}: expected a picture, found one too large for memory") from error
    except Exception as error:  # a broken file makes Pillow's decoders raise whatever its bytes lead them to
        raise ImageError(f"{source_name(source)}: expected a picture, found: {_reason(error)}") from error


def _cropped(cropped: CroppedImage, shrink: Shrink | None, limits: ImageLimits) -> DecodedImage:
    """A part of a picture, which is decoded at its own size."""

    def keep_size(width: int, height: int) -> Shrinking:
        return Shrinking(profile=shrink is not None and shrink(width, height).profile)

    whole = decode_image(cropped.source, keep_size, limits)
    image = whole.image.crop(cropped.pixels(*whole.image.size))
    return replace(whole, image=image, size=image.size, box=(0, 0, *image.size))


def _reason(error: Exception) -> str:
    """What went wrong, without the path, which the message names already."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    try:
        image = from_array(array)
    except ValueError as error:
        raise ImageError(
            "expected uint8, uint16 or floating point from 0 to 1 or 0 to 255, of shape (H, W), (H, W, 3) or "
            f"(H, W, 4), found {source_name(array)}: {error}"
        ) from None
    return rgb_converter(image)(image)


class _Decoder:
    """Decodes the encoded bytes of one picture."""

    def __init__(self, data: bytes, shrink: Shrink | None, limits: ImageLimits) -> None:
        self._data = data
        self._shrink = shrink
        self._limits = limits
        self._formats = decodable_formats(data, limits)
        self._format = self._formats[0]
        self._deadline = Deadline(limits)

    def decode(self) -> DecodedImage:
        """Decode the picture. Raises ValueError, which names its format."""
        try:
            return self._decode(inspect(self._format, self._data, self._limits))
        except MemoryError:
            raise
        except Exception as error:
            raise ValueError(f"{title(self._format)} that cannot be decoded: {_reason(error)}") from error

    def _decode(self, container: Container) -> DecodedImage:
        memory = 0
        if container.size is not None and self._format != "JPEG":
            memory = self._check(container, container.size, "1")
        opening = memory if container.decoded_when_opened else 0
        stream = PieceStream(container.pieces, self._deadline)
        with SHARED_MEMORY.reserve(opening, self._limits), open_picture(self._formats, stream) as image:
            if self._format == "AVIF":
                self._limits.check("frames", getattr(image, "n_frames", 1), "frames")
            turn, stored_size = _orientation(container, image), image.size
            shrinking = needed(self._shrink, stored_size, turn)
            used = self._draft(image, shrinking, turn)
            if used is not None:
                shrinking = replace(shrinking, factors=(1, 1))
            result = result_memory(image, turn, shrinking)
            memory = self._check(container, image.size, image.mode, result, scales=shrinking.smallest is not None)
            with SHARED_MEMORY.reserve(0 if opening else memory, self._limits):
                error = self._load(container, image)
                if error is None:
                    picture = to_upright(image, turn, shrinking, container.profile or image.info.get("icc_profile"))
                    if picture.image is not image:
                        image.close()  # before another picture takes the memory
        if error is not None:
            return self._decode_cut(error)
        return picture if used is None else locate(picture, stored_size, used, turn)

    def _draft(self, image: ImageFile.ImageFile, shrinking: Shrinking, turn: int) -> tuple[float, float] | None:
        """Have a JPEG scaled while it is decoded; returns (width, height) of what the whole picture becomes.

        None where it is decoded at its own size.
        """
        if self._format != "JPEG" or shrinking.smallest is None:
            return None
        stored_size = image.size
        draft = image.draft(None, turned(shrinking.smallest, turn))
        return None if draft is None or image.size == stored_size else (draft[1][2], draft[1][3])

    def _check(self, container: Container, size: Size, mode: str, result: int = 0, *, scales: bool = True) -> int:
        """The memory that a picture of this size takes, with `result` bytes that are made of it once it is decoded.

        Raises LimitError where picture or memory are too large; the message says how to do with less.
        """
        advice = "" if scales else ': decode="fast" takes less'
        pixels = size[0] * size[1]
        self._limits.check("pixels", pixels, "pixels", advice)
        decoded = pixels * _BYTES_PER_PIXEL.get(mode, 4)
        working = pixels * container.bytes_per_pixel or decoded
        # a decoder with buffers of its own frees half of them when it is done
        memory = max(working, pixels * container.bytes_per_pixel // 2 + decoded + result) + container.extra_memory
        memory += _BYTES_PER_EDGE_PIXEL * max(size)
        self._limits.check("memory", memory, "bytes of memory to decode it", advice)
        return memory

    def _load(self, container: Container, image: ImageFile.ImageFile) -> OSError | None:
        """Decode the pixels; returns the error of a JPEG that was cut short, and raises that of any other."""
        try:
            image.load()
        except OSError as error:
            if self._format != "JPEG" or bytes(container.pieces[-1][-2:]) == END_OF_IMAGE:
                raise
            return error
        self._deadline.check()
        return None

    def _decode_cut(self, error: OSError) -> DecodedImage:
        """Decode as much as there is of a JPEG; libjpeg fills the rest with mid-gray once the end is marked."""
        picture = _Decoder(self._data + END_OF_IMAGE, self._shrink, self._limits).decode()
        filled = np.asarray(picture.image.convert("L")) == _GRAY_OF_MISSING_ROWS
        missing = max(filled.all(axis=axis).mean() for axis in (0, 1))  # rows may have become columns by EXIF
        if missing > _LARGEST_MISSING_SHARE:
            raise OSError(f"{error}; {missing:.0%} of the rows are missing") from error
        return picture


def _decode_pil(source: Image.Image, shrink: Shrink | None, limits: ImageLimits) -> DecodedImage:
    """A PIL image put upright; one that was opened and not yet loaded must be of a format that is decoded."""
    memory = 0
    if isinstance(source, ImageFile.ImageFile) and (source.tile or isinstance(source, ImageFile.StubImageFile)):
        name = "JPEG" if source.format == "MPO" else source.format
        if name not in limits.formats:
            raise ValueError(f"{describe_refused(str(name))}; load it before it is passed on")
        limits.check("pixels", source.width * source.height, "pixels")
        memory = source.width * source.height * _BYTES_PER_PIXEL.get(source.mode, 4)
        memory += _BYTES_PER_EDGE_PIXEL * max(source.size)
    with SHARED_MEMORY.reserve(memory, limits):
        source.load()
        turn = _pil_orientation(source)
        shrinking = needed(shrink, source.size, turn)
        return to_upright(source, turn, shrinking, source.info.get("icc_profile"))


def _pil_orientation(image: Image.Image) -> int:
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF makes Pillow's reader raise whatever its bytes lead it to
        return 1
    return turn if turn in range(1, 9) else 1


def _orientation(container: Container, image: Image.Image) -> int:
    """The EXIF orientation of a picture, from its header or from what its decoder found."""
    if container.orientation is not None:
        return container.orientation
    exif, xmp = (value if isinstance(value := image.info.get(key), bytes) else None for key in ("exif", "xmp"))
    return orientation(exif, xmp)
