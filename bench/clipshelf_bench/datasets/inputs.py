"""The same inputs for every contender, made from a seed and kept as files.

Pictures are layered shapes and gradients: cheap to make, free to share, and unlike noise they compress as photographs
do. Arrays are .npy, encoded pictures a folder, sentences .json.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from clipshelf.model.artifact import TOKENIZER, Artifact
from clipshelf.model.tokenizer import Tokenizer
from PIL import Image, ImageDraw, ImageFilter

from clipshelf_bench.arrays import FloatArray, Pixels, TokenIds

REVIEW = "I love running shoes, especially those with great support and comfort."
_SUBJECTS = [
    "shoe",
    "shirt",
    "jacket",
    "watch",
    "lamp",
    "chair",
    "bottle",
    "kettle",
    "guitar",
    "tent",
    "bicycle",
    "camera",
]
_ADJECTIVES = [
    "red",
    "blue",
    "warm",
    "light",
    "sturdy",
    "soft",
    "small",
    "wide",
    "quiet",
    "waterproof",
    "folding",
    "wooden",
]
_ENDINGS = ["for running in winter", "with great support and comfort", "to take on long walks", "that lasts for years"]


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """One RGB picture of shapes over a gradient, slightly blurred, with a little noise."""
    corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
    canvas = corners.resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 12))):
        x, y = rng.uniform(-0.2, 0.9, 2) * (width, height)
        w, h = rng.uniform(0.1, 0.6, 2) * (width, height)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        [draw.ellipse, draw.rectangle][int(rng.integers(2))]((x, y, x + w, y + h), fill=colour)
    canvas = canvas.filter(ImageFilter.GaussianBlur(max(width, height) / 400))
    grain = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(canvas) + grain, 0, 255).astype(np.uint8))


def pixels(count: int, size: int, seed: int) -> Pixels:
    """Pictures as (count, size, size, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    return np.stack([np.asarray(picture(rng, size, size)) for _ in range(count)])


def token_ids(count: int, length: int, vocabulary: int, seed: int) -> TokenIds:
    """Sentences of `length` ids each as (count, length) int64: bos, words below the two special ids, eos.

    CLIP's tokenizers keep bos and eos as the last two ids of the vocabulary.
    """
    ids = np.random.default_rng(seed).integers(300, vocabulary - 2, (count, length))
    ids[:, 0], ids[:, -1] = vocabulary - 2, vocabulary - 1
    return ids


def sentences(count: int, seed: int) -> list[str]:
    """Short product descriptions, all in ASCII."""
    rng = np.random.default_rng(seed)
    return [f"a {rng.choice(_ADJECTIVES)} {rng.choice(_SUBJECTS)} {rng.choice(_ENDINGS)}" for _ in range(count)]


def unit_rows(count: int, dim: int, seed: int) -> FloatArray:
    """Random unit rows (count, dim) float32."""
    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def write_photos(folder: Path, count: int, edge: int, seed: int) -> Path:
    """JPEG files of edge x edge pictures, quality 90, in `folder`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        picture(rng, edge, edge).save(folder / f"{i:03}.jpg", quality=90)
    return folder


def write_sentences(path: Path, count: int, seed: int) -> Path:
    """Product descriptions as a JSON list."""
    path.write_text(json.dumps(sentences(count, seed)))
    return path


def write_products(folder: Path, count: int, edge: int, seed: int) -> Path:
    """A `products.csv` with ids that count from 0, sentences and pictures, and the pictures' files, in `folder`."""
    write_photos(folder / "pictures", count, edge, seed)
    with (folder / "products.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("id", "text", "image"))
        for row, sentence in enumerate(sentences(count, seed)):
            lines.writerow((row, sentence, f"pictures/{row:03}.jpg"))
    return folder


def write_query(folder: Path, edge: int, seed: int) -> Path:
    """A .json file in `folder` with a review and the path of a photo."""
    photo = write_photos(folder, 1, edge, seed) / "000.jpg"
    path = folder / "query.json"
    path.write_text(json.dumps({"text": REVIEW, "photo": str(photo)}))
    return path


def tokenised(artifact: Path, count: int, length: int, seed: int) -> TokenIds:
    """Sentences by the artifact's own tokenizer, cut or repeated to `length` ids: (count, length) int64."""
    opened = Artifact.open(artifact)
    tokenizer = Tokenizer(opened.file(TOKENIZER), opened.manifest.text)
    rows = []
    for ids in tokenizer.encode(sentences(count, seed)):
        first, words, last = ids[:1], ids[1:-1], ids[-1:]
        rows.append(np.concatenate((first, np.resize(words, length - 2), last)))
    return np.stack(rows)
