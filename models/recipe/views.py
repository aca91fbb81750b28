"""Views of a picture: the plain view, as pictures of users are prepared, and random views for training.

S is the edge of a picture in pixels; every view is (S, S, 3) uint8 RGB.
"""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from .sources import Picture

Pixels = npt.NDArray[np.uint8]
WHITE = (255, 255, 255)
_CACHED_SIDE = 300
# Drawings of openclipart have up to 230 megapixels. They come from a trusted package, so Pillow's limit is raised.
Image.MAX_IMAGE_PIXELS = 400_000_000
_BICUBIC = Image.Resampling.BICUBIC


def load(picture: Picture) -> Image.Image:
    """Load a picture as RGBA, at most 300 pixels along the longer edge; SVG is rendered at that size."""
    return _render(picture.body) if picture.body else load_file(picture.path)


def load_file(path: Path) -> Image.Image:
    """Load a picture file as `load` does."""
    if path.suffix == ".svg":
        return _render(path.read_text(encoding="utf-8"))
    image = Image.open(path).convert("RGBA")
    image.thumbnail((_CACHED_SIDE, _CACHED_SIDE), _BICUBIC)
    return image


def _render(svg: str) -> Image.Image:
    import resvg_py

    rendered = resvg_py.svg_to_bytes(svg_string=svg, width=_CACHED_SIDE, height=_CACHED_SIDE)
    image = Image.open(io.BytesIO(bytes(rendered))).convert("RGBA")
    image.thumbnail((_CACHED_SIDE, _CACHED_SIDE), _BICUBIC)
    return image


def over(image: Image.Image, colour: tuple[int, int, int] = WHITE) -> Image.Image:
    """Return the picture in RGB, over a plain colour where it is transparent."""
    if image.mode == "RGB":
        return image
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*colour, 255)), rgba).convert("RGB")


def fit(image: Image.Image, size: int, rule: str, colour: tuple[int, int, int] = WHITE) -> Pixels:
    """Fit an RGB picture to (size, size, 3) pixels.

    - `rule`: "pad" centres the whole picture on a plain square, "shortest" scales the shorter edge and crops the
      centre, "squash" scales both edges.
    - `colour`: of the plain square.
    """
    width, height = image.size
    if rule == "squash":
        square = image.resize((size, size), _BICUBIC)
    elif rule == "shortest":
        scale = size / min(width, height)
        wide, high = max(size, round(width * scale)), max(size, round(height * scale))
        left, top = (wide - size) // 2, (high - size) // 2
        square = image.resize((wide, high), _BICUBIC).crop((left, top, left + size, top + size))
    elif rule == "pad":
        scale = size / max(width, height)
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        square = Image.new("RGB", (size, size), colour)
        square.paste(image.resize((wide, high), _BICUBIC), ((size - wide) // 2, (size - high) // 2))
    else:
        raise ValueError(f"resize rule must be pad, shortest or squash, got {rule!r}")
    return np.asarray(square, dtype=np.uint8)


def _backdrop(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """A soft random background: a gradient of two or four colours, sometimes with grain, as behind a photograph."""
    corners = np.asarray([[rng.randint(0, 255) for _ in range(3)] for _ in range(4)], np.uint8).reshape(2, 2, 3)
    image = Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        grain = Image.effect_noise(size, rng.uniform(10, 60)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))
        image = Image.blend(image, grain.convert("RGB"), rng.uniform(0.1, 0.5))
    return image


def _colours(rng: random.Random, image: Image.Image) -> Image.Image:
    for enhance in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        image = enhance(image).enhance(rng.uniform(0.6, 1.4))
    chance = rng.random()
    if chance < 0.1:
        image = ImageOps.grayscale(image).convert("RGB")
    elif chance < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.5)))
    return image


def random_view(image: Image.Image, size: int, rng: random.Random) -> Pixels:
    """Return a random view of an RGBA picture, as another artist or photographer might have made it."""
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.5:
        image = image.rotate(rng.uniform(-20, 20), _BICUBIC, expand=True)
    width, height = image.size
    if rng.random() < 0.4:  # crop to 70-100 % of each side
        w, h = max(1, int(width * rng.uniform(0.7, 1))), max(1, int(height * rng.uniform(0.7, 1)))
        x, y = rng.randint(0, width - w), rng.randint(0, height - h)
        image = image.crop((x, y, x + w, y + h))
    elif rng.random() < 0.6:  # or stand smaller in a larger scene
        margin = rng.uniform(1.05, 1.8)
        scene = Image.new("RGBA", (int(width * margin) + 1, int(height * margin) + 1), (255, 255, 255, 0))
        scene.paste(image, (rng.randint(0, scene.width - width), rng.randint(0, scene.height - height)))
        image = scene
    chance = rng.random()
    if chance < 0.4:
        rgb = over(image)
    elif chance < 0.6:
        rgb = over(image, (rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)))
    else:
        rgb = Image.alpha_composite(_backdrop(rng, image.size).convert("RGBA"), image).convert("RGB")
    return fit(_colours(rng, rgb), size, rng.choice(("pad", "pad", "squash", "shortest")))
