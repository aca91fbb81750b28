"""Make varied pictures and sentences from a seed, for calibration without data of the user.

The pictures vary in what a vision tower reacts to: brightness, contrast, colour, scale, edges and grain. The sentences
vary in length and vocabulary. Neither looks like a catalogue; the sample shelf, which is used with them, does.
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


def make_pictures(count: int, side: int, seed: int = 7) -> list[Pixels]:
    """Make `count` pictures, uint8 (side, side, 3); the same `seed` gives the same pictures."""
    rng = np.random.default_rng(seed)
    painters = (_gradient, _noise, _waves, _shapes, _grain)
    return [_adjust(painters[i % len(painters)](rng, side), rng) for i in range(count)]


def make_sentences(count: int, seed: int = 11) -> list[str]:
    """Make `count` different sentences of one to about a hundred words; the same `seed` gives the same sentences."""
    rng = np.random.default_rng(seed)
    sentences: dict[str, None] = {}
    while len(sentences) < count:
        sentences.setdefault(_sentence(rng))
    return list(sentences)


def _sentence(rng: np.random.Generator) -> str:
    def pick(phrases: tuple[str, ...]) -> str:
        return phrases[int(rng.integers(len(phrases)))]

    opinion_count = int(rng.integers(1, 9))
    return pick(FRAMES).format(
        noun=pick(NOUNS),
        adjective=pick(ADJECTIVES),
        other=pick(ADJECTIVES),
        place=pick(PLACES),
        opinion=pick(OPINIONS),
        opinions=". ".join(pick(OPINIONS) for _ in range(opinion_count)),
        number=int(rng.integers(1, 60)),
    )


def _adjust(values: FloatArray, rng: np.random.Generator) -> Pixels:
    """Turn values in [0, 1] into pixels with a random contrast, brightness and tint."""
    contrast, brightness = rng.uniform(0.3, 1.2), rng.uniform(-0.3, 0.3)
    tint = rng.uniform(0.7, 1.3, 3)
    return np.clip((((values - 0.5) * contrast + 0.5 + brightness) * tint) * 255, 0, 255).astype(np.uint8)


def _random_colours(rng: np.random.Generator, count: int) -> FloatArray:
    return rng.uniform(0, 1, (count, 3)).astype(np.float32)


def _resize(values: FloatArray, side: int) -> FloatArray:
    resized = _to_image(values).resize((side, side), Image.Resampling.BICUBIC)
    scaled: FloatArray = np.asarray(resized, np.float32) / np.float32(255)
    return scaled


def _to_image(values: FloatArray) -> Image.Image:
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def _gradient(rng: np.random.Generator, side: int) -> FloatArray:
    """A smooth field through up to 25 random colours."""
    cells = int(rng.integers(1, 6))
    return _resize(_random_colours(rng, cells * cells).reshape(cells, cells, 3), side)


def _noise(rng: np.random.Generator, side: int) -> FloatArray:
    """Noise summed over five scales, each with a random strength."""
    total = np.full((side, side, 3), 0.5, np.float32)
    for cells in (4, 12, 36, 96, side):
        total += rng.uniform(0, 1) * (_resize(_random_colours(rng, cells * cells).reshape(cells, cells, 3), side) - 0.5)
    return total


def _grain(rng: np.random.Generator, side: int) -> FloatArray:
    """Independent noise per pixel, in colour or gray, from faint to strong."""
    channels = 3 if rng.uniform() < 0.7 else 1
    values = rng.uniform(-0.5, 0.5, (side, side, channels)).astype(np.float32)
    return np.broadcast_to(np.float32(0.5) + np.float32(rng.uniform(0.2, 1.2)) * values, (side, side, 3))


def _waves(rng: np.random.Generator, side: int) -> FloatArray:
    """Two gratings of two colours each, which give stripes, checks or weaves."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    total = np.zeros((side, side, 3), np.float32)
    for _ in range(2):
        angle, frequency, phase = rng.uniform(0, np.pi), 2 ** rng.uniform(1, 6), rng.uniform(0, 6.28)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        wave = np.sign(wave) if rng.uniform() < 0.4 else wave
        low, high = _random_colours(rng, 2)
        total += 0.5 * (low + (high - low) * (0.5 + 0.5 * wave[..., None]))
    return total


def _shapes(rng: np.random.Generator, side: int) -> FloatArray:
    """One to twelve filled shapes over a gradient."""
    image = _to_image(_gradient(rng, side))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 13))):
        x, y = (rng.uniform(-0.15, 1, 2) * side).tolist()
        width, height = (rng.uniform(0.03, 0.7, 2) * side + 1).tolist()
        fill = tuple(int(v) for v in rng.integers(0, 256, 3))
        kind = int(rng.integers(3))
        if kind == 0:
            draw.rectangle((x, y, x + width, y + height), fill=fill)
        elif kind == 1:
            draw.ellipse((x, y, x + width, y + height), fill=fill)
        else:
            draw.polygon([(x, y), (x + width, y), (x + width / 2, y + height)], fill=fill)
    scaled: FloatArray = np.asarray(image, np.float32) / np.float32(255)
    return scaled
