"""Keeps what the model is later judged by out of its training data: near-duplicates of the stamps and of the shelf.

Openclipart lent drawings to Tux Paint and to the sample shelf. A picture is dropped when its thumbnail, cut to what
is drawn, correlates with one of theirs.
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
ALIKE = 0.93
_SIDE = 16


def thumbnail(image: Image.Image) -> npt.NDArray[np.float32]:
    """A picture over white, cut to what differs from white, as a centred vector (768,) of unit norm."""
    rgb = over(image)
    drawn = ImageChops.difference(rgb, Image.new("RGB", rgb.size, WHITE)).convert("L").point([0] * 13 + [255] * 243)
    small = rgb.crop(drawn.getbbox() or (0, 0, *rgb.size)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    vector = np.asarray(small, np.float32).ravel()
    vector -= vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def thumbnails(paths: Iterable[Path]) -> npt.NDArray[np.float32]:
    """(n, 768) of the picture files that can be drawn: some SVG stamps say no size that the renderer understands."""

    def make(path: Path) -> npt.NDArray[np.float32] | None:
        try:
            return thumbnail(load_file(path))
        except ValueError:
            return None

    with ThreadPoolExecutor(2) as threads:
        return np.stack([vector for vector in threads.map(make, paths) if vector is not None])


def judged_by(stamps: Path, examples: Path) -> list[Path]:
    """The pictures that a model is judged by: stamps in the unpacked package, shelf and queries in `examples`."""
    drawings = sorted(stamps.rglob("*.svg"))
    shown = sorted(examples.glob("shelf/pictures/*")) + sorted(examples.glob("queries/*"))
    return [stamp.path for stamp in read_stamps(stamps)] + drawings + shown


def unseen(pictures: npt.NDArray[np.float32], judges: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(N,) True for the pictures (N, 768) that are like none of the judges (M, 768)."""
    return np.asarray((pictures @ judges.T).max(axis=1) < ALIKE)
