"""Pictures and sentences made from nothing but a seed: variety for calibration where the user gives none.

The pictures sweep what a vision tower reacts to (brightness, contrast, colour, scale, edges, grain), the sentences
sweep length and vocabulary. Neither looks like a catalogue; the sample shelf beside them does.
"""

from __future__ import annotations

import numpy as np
from clipshelf.types import FloatArray, Pixels
from PIL import Image, ImageDraw

ADJECTIVES = (
    "red", "blue", "black", "white", "striped", "wooden", "cheap", "elegant", "broken", "vintage", "tiny", "huge",
    "soft", "bright", "waterproof", "handmade", "modern", "quiet", "heavy", "light", "warm", "cold", "round",
    "square", "comfortable", "lovely", "terrible", "perfect", "old", "new",
)  # fmt: skip
NOUNS = (
    "jacket", "shoe", "lamp", "chair", "camera", "dress", "watch", "bag", "bottle", "keyboard", "table", "guitar",
    "bicycle", "tent", "ring", "scarf", "mug", "pillow", "phone", "book", "toy", "hat", "skirt", "mirror", "carpet",
    "knife", "blender", "necklace", "backpack", "sofa", "dog", "cat", "flower", "mountain", "street", "car", "child",
)  # fmt: skip
PLACES = (
    "in the garden", "on a table", "for my mother", "at the beach", "with two pockets", "under the bed",
    "for winter", "in a box",
)  # fmt: skip
OPINIONS = (
    "I love it and would buy it again", "it broke after a week", "fits as described",
    "the colour is not what I expected", "great value for the price", "too small for me",
    "my friends keep asking where I got it", "arrived late but well packed", "the material feels cheap",
    "exactly what I was looking for", "would recommend it to anyone", "sent it back the next day",
)  # fmt: skip
FRAMES = (
    "{noun}", "{adjective} {noun}", "a photo of a {noun}", "a {adjective} {noun} {place}",
    "this {noun} is {adjective}, {opinion}", "size {number}, {adjective} and {other}: {opinion}",
    "{opinion}. {opinions}",
)  # fmt: skip


def pictures(count: int, side: int, seed: int = 7) -> list[Pixels]:
    """`count` different pictures (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    kinds = (_gradient, _noise, _waves, _shapes, _grain)
    return [_finish(kinds[i % len(kinds)](rng, side), rng) for i in range(count)]


def sentences(count: int, seed: int = 11) -> list[str]:
    """`count` different sentences, from one word to some hundred."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(_sentence(rng))
    return list(found)


def _sentence(rng: np.random.Generator) -> str:
    def pick(words: tuple[str, ...]) -> str:
        return words[int(rng.integers(len(words)))]

    many = int(rng.integers(1, 9))
    return pick(FRAMES).format(
        noun=pick(NOUNS),
        adjective=pick(ADJECTIVES),
        other=pick(ADJECTIVES),
        place=pick(PLACES),
        opinion=pick(OPINIONS),
        opinions=". ".join(pick(OPINIONS) for _ in range(many)),
        number=int(rng.integers(1, 60)),
    )


def _finish(values: FloatArray, rng: np.random.Generator) -> Pixels:
    """Random contrast, brightness and tint on values in [0, 1]."""
    contrast, light = rng.uniform(0.3, 1.2), rng.uniform(-0.3, 0.3)
    tint = rng.uniform(0.7, 1.3, 3)
    return np.clip((((values - 0.5) * contrast + 0.5 + light) * tint) * 255, 0, 255).astype(np.uint8)


def _colours(rng: np.random.Generator, count: int) -> FloatArray:
    return rng.uniform(0, 1, (count, 3)).astype(np.float32)


def _resize(values: FloatArray, side: int) -> FloatArray:
    resized = _image(values).resize((side, side), Image.Resampling.BICUBIC)
    scaled: FloatArray = np.asarray(resized, np.float32) / np.float32(255)
    return scaled


def _image(values: FloatArray) -> Image.Image:
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def _gradient(rng: np.random.Generator, side: int) -> FloatArray:
    """A smooth field through random colours, down to a single one."""
    cells = int(rng.integers(1, 6))
    return _resize(_colours(rng, cells * cells).reshape(cells, cells, 3), side)


def _noise(rng: np.random.Generator, side: int) -> FloatArray:
    """Noise summed over several scales, each at its own strength."""
    total = np.full((side, side, 3), 0.5, np.float32)
    for cells in (4, 12, 36, 96, side):
        total += rng.uniform(0, 1) * (_resize(_colours(rng, cells * cells).reshape(cells, cells, 3), side) - 0.5)
    return total


def _grain(rng: np.random.Generator, side: int) -> FloatArray:
    """Every pixel on its own, coloured or gray, from faint to full strength."""
    channels = 3 if rng.uniform() < 0.7 else 1
    values = rng.uniform(-0.5, 0.5, (side, side, channels)).astype(np.float32)
    return np.broadcast_to(np.float32(0.5) + np.float32(rng.uniform(0.2, 1.2)) * values, (side, side, 3))


def _waves(rng: np.random.Generator, side: int) -> FloatArray:
    """Two gratings of two colours each: stripes, checks, weaves."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    total = np.zeros((side, side, 3), np.float32)
    for _ in range(2):
        angle, frequency, phase = rng.uniform(0, np.pi), 2 ** rng.uniform(1, 6), rng.uniform(0, 6.28)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        wave = np.sign(wave) if rng.uniform() < 0.4 else wave
        low, high = _colours(rng, 2)
        total += 0.5 * (low + (high - low) * (0.5 + 0.5 * wave[..., None]))
    return total


def _shapes(rng: np.random.Generator, side: int) -> FloatArray:
    """Up to a dozen filled shapes over a gradient."""
    image = _image(_gradient(rng, side))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 13))):
        x, y = (rng.uniform(-0.15, 1, 2) * side).tolist()
        w, h = (rng.uniform(0.03, 0.7, 2) * side + 1).tolist()
        fill = tuple(int(v) for v in rng.integers(0, 256, 3))
        kind = int(rng.integers(3))
        if kind == 0:
            draw.rectangle((x, y, x + w, y + h), fill=fill)
        elif kind == 1:
            draw.ellipse((x, y, x + w, y + h), fill=fill)
        else:
            draw.polygon([(x, y), (x + w, y), (x + w / 2, y + h)], fill=fill)
    scaled: FloatArray = np.asarray(image, np.float32) / np.float32(255)
    return scaled
