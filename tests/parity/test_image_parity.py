"""Exact decoding against transformers' CLIPImageProcessor, to the bit."""

from __future__ import annotations

import io

import numpy as np
import pytest
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.image import ImageReader
from clipshelf.types import Pixels
from PIL import Image

transformers = pytest.importorskip("transformers", reason="parity needs clipshelf[export]")

# mode, file format, options
KINDS = [
    ("RGB", "JPEG", {"quality": 90}),
    ("RGB", "JPEG", {"progressive": True}),
    ("RGB", "PNG", {}),
    ("RGB", "WEBP", {}),
    ("RGB", "BMP", {}),
    ("RGB", "TIFF", {}),
    ("L", "JPEG", {}),
    ("L", "PNG", {}),
    ("P", "PNG", {}),
    ("P", "GIF", {}),
    ("1", "PNG", {}),
    ("CMYK", "JPEG", {}),
    ("CMYK", "TIFF", {}),
    ("YCbCr", "TIFF", {}),
]
SHAPES = 16


def pictures(mode: str, format_: str, options: dict[str, object], seed: int) -> list[bytes]:
    """SHAPES pictures of one kind: photo-like and noisy, mostly not square, smaller and larger than the crop."""
    rng = np.random.default_rng(seed)
    files = []
    for i in range(SHAPES):
        width, height = (int(edge) for edge in rng.integers(24, 700, 2))
        grain = rng.integers(0, 256, (height // (1 + i % 4), width // (1 + i % 4), 3), dtype=np.uint8)
        image = Image.fromarray(grain).resize((width, height), Image.Resampling.BILINEAR).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, format_, **options)
        files.append(buffer.getvalue())
    return files


@pytest.mark.parametrize(("size", "resize_to"), [(224, 224), (64, 80)])
@pytest.mark.parametrize(("mode", "format_", "options"), KINDS)
def test_exact_pixels_are_those_of_the_processor(
    mode: str, format_: str, options: dict[str, object], size: int, resize_to: int
) -> None:
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": resize_to}, crop_size={"height": size, "width": size}
    )
    reader = ImageReader(ImageSpec(size=size, resize="shortest", resize_to=resize_to, resample="bicubic"), "exact")
    for data in pictures(mode, format_, options, seed=size):
        with Image.open(io.BytesIO(data)) as image:
            processed = processor(image, do_rescale=False, do_normalize=False, return_tensors="np")
        expected: Pixels = processed["pixel_values"][0].transpose(1, 2, 0).astype(np.uint8)
        np.testing.assert_array_equal(reader.read(data), expected)
