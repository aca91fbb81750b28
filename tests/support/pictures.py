"""Pictures and the files that hold them."""

from __future__ import annotations

import io

from PIL import Image


def encode(image: Image.Image, format_: str, **options: object) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """16 wide, 8 high: left half red, right half blue."""
    image = Image.new("RGB", (16, 8), (255, 0, 0))
    image.paste((0, 0, 255), (8, 0, 16, 8))
    return image.convert(mode)
