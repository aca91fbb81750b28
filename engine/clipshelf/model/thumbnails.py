"""Small JPEGs of pictures, for pages."""

from __future__ import annotations

import io
from functools import partial

from PIL import Image

from clipshelf.model.containers.container import Size
from clipshelf.model.image_colours import to_srgb
from clipshelf.model.image_decoding import DEFAULT_LIMITS, decode_image
from clipshelf.model.image_limits import ImageLimits
from clipshelf.model.image_shrinking import Shrinking
from clipshelf.types import ImageSource

DEFAULT_EDGE = 480  # pixels
_QUALITY = 85


def thumbnail(source: ImageSource, edge: int = DEFAULT_EDGE, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Make a small JPEG of a picture, without its metadata.

    - `source`, `limits`: as in `image_decoding.decode_image`.
    - `edge`: pixels of the longer edge at most; a smaller picture keeps its size.

    Raises ImageError.
    """
    picture = decode_image(source, partial(_needed, edge), limits)
    image = to_srgb(picture.image, picture.profile, picture.mode)
    image = image.resize(_size(edge, *picture.size), Image.Resampling.LANCZOS, box=picture.box)
    image.info.clear()  # Pillow would write the comment of a JPEG again
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _size(edge: int, width: int, height: int) -> Size:
    scale = min(1, edge / max(width, height))
    return max(1, round(scale * width)), max(1, round(scale * height))


def _needed(edge: int, width: int, height: int) -> Shrinking:
    """Twice the size of the thumbnail."""
    across, down = _size(edge, width, height)
    factors = max(1, width // (2 * across)), max(1, height // (2 * down))
    return Shrinking((2 * across, 2 * down), factors, profile=True)
