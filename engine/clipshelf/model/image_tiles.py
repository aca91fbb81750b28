"""Pictures put upright, as a whole or in parts, so that a large one need not be there twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from PIL import Image

Edge = TypeVar("Edge", int, float)

# EXIF orientations by what they do to a stored picture (Exif 2.32, section 4.6.4).
SWAPS_AXES, MIRRORS_X, MIRRORS_Y = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TILE_PIXELS = 1 << 20


def turned(size: tuple[Edge, Edge], turn: int) -> tuple[Edge, Edge]:
    """(width, height) of the upright picture from those of the stored one, and back."""
    return (size[1], size[0]) if turn in SWAPS_AXES else size


def put_upright(image: Image.Image, turn: int) -> Image.Image:
    """Turn a picture, or a part of it, as its EXIF orientation says; the picture itself where it stands upright."""
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def tiles(
    image: Image.Image, turn: int = 1, factors: tuple[int, int] = (1, 1)
) -> Iterator[tuple[tuple[int, int], Image.Image]]:
    """Yield parts of a picture put upright, each with its (left, top).

    - `turn`: the EXIF orientation of the picture as it is stored.
    - `factors`: width and height of a part are multiples of these, but at the right and lower edge.

    Parts are bands of whole rows, or pieces of them where rows are very long.
    """
    swaps = turn in SWAPS_AXES
    width, height = (image.height, image.width) if swaps else image.size
    rows = max(1, _TILE_PIXELS // width // factors[1]) * factors[1]
    columns = width if rows * width <= 2 * _TILE_PIXELS else max(1, _TILE_PIXELS // rows // factors[0]) * factors[0]
    for top in range(0, height, rows):
        down = _stored(top, min(top + rows, height), height, mirrored=turn in MIRRORS_Y)
        for left in range(0, width, columns):
            across = _stored(left, min(left + columns, width), width, mirrored=turn in MIRRORS_X)
            (start, stop), (first, last) = (down, across) if swaps else (across, down)
            box = (start, first, stop, last)
            part = image if box == (0, 0, *image.size) else image.crop(box)
            yield (left, top), put_upright(part, turn)


def _stored(start: int, stop: int, length: int, *, mirrored: bool) -> tuple[int, int]:
    """A range of the upright picture's rows or columns as they are stored."""
    return (length - stop, length - start) if mirrored else (start, stop)
