"""Keeps pictures that the model is evaluated on out of its training data, near-duplicates included.

Tux Paint's stamps and the sample shelf have drawings from openclipart. A picture is left out where its thumbnail,
cropped to the drawing, correlates with a thumbnail of a picture for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from clipshelf_bench.datasets.stamps import read_stamps
from PIL import Image, ImageChops

from .views import WHITE, load_file, over

# Copies of one drawing at different sizes correlate above 0.97; different drawings of one subject stay below 0.9.
DUPLICATE_FROM = 0.93
_SIDE = 16


def thumbnail(image: Image.Image) -> npt.NDArray[np.float32]:
    """Return a picture over white, cropped to what differs from white, as a centred vector (768,) of unit norm."""
    rgb = over(image)
    drawn = ImageChops.difference(rgb, Image.new("RGB", rgb.size, WHITE)).convert("L").point([0] * 13 + [255] * 243)
    small = rgb.crop(drawn.getbbox() or (0, 0, *rgb.size)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).ravel()
    vector -= vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def thumbnails(paths: Iterable[Path]) -> npt.NDArray[np.float32]:
    """Return thumbnails (n, 768) of the files that can be rendered; the renderer reads no size from some SVG stamps."""

    def make(path: Path) -> npt.NDArray[np.float32] | None:
        try:
            return thumbnail(load_file(path))
        except ValueError:
            return None

    with ThreadPoolExecutor(2) as threads:
        return np.stack([vector for vector in threads.map(make, paths) if vector is not None])


def evaluation_pictures(stamps: Path, examples: Path) -> list[Path]:
    """Return the pictures for evaluation: the stamps of an unpacked package, and the shelf and queries of examples."""
    drawings = sorted(stamps.rglob("*.svg"))
    samples = sorted(examples.glob("shelf/pictures/*")) + sorted(examples.glob("queries/*"))
    return [stamp.path for stamp in read_stamps(stamps)] + drawings + samples


def is_unseen(pictures: npt.NDArray[np.float32], evaluation: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return (N,) true for the thumbnails (N, 768) that resemble none of those for evaluation (M, 768)."""
    return np.asarray((pictures @ evaluation.T).max(axis=1) < DUPLICATE_FROM)
