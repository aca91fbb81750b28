"""The same inputs for every contender, made from a seed and kept as files that `reading.read_input` reads.

Pictures are layered shapes and gradients: quick to make, free to share, and unlike noise they compress as photographs
do. Arrays are .npy files, encoded pictures a folder of JPEG files, sentences a .json file.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from clipshelf_bench.arrays import FloatArray, Pixels, TokenIds

REVIEW = "I love running shoes, especially those with great support and comfort."
_NOUNS = [
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

# The lowest ids of CLIP's vocabulary are single bytes, not words.
_FIRST_WORD_ID = 300
_JPEG_QUALITY = 90


def random_picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """An RGB picture of shapes over a gradient, slightly blurred, with a little noise; edges in pixels."""
    corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
    canvas = corners.resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 12))):
        x, y = rng.uniform(-0.2, 0.9, 2) * (width, height)
        w, h = rng.uniform(0.1, 0.6, 2) * (width, height)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        [draw.ellipse, draw.rectangle][int(rng.integers(2))]((x, y, x + w, y + h), fill=colour)
    canvas = canvas.filter(ImageFilter.GaussianBlur(max(width, height) / 400))
    noise = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8))


def random_pixels(count: int, size: int, seed: int) -> Pixels:
    """Pictures as (count, size, size, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    return np.stack([np.asarray(random_picture(rng, size, size)) for _ in range(count)])


def random_token_ids(count: int, length: int, vocabulary: int, seed: int) -> TokenIds:
    """Sentences of random words for a CLIP text tower.

    - `count`, `length`: sentences, and ids of each, the two special ids included.
    - `vocabulary`: ids that the tower knows. CLIP's tokenizers keep the first and last id of a sentence as the last
      two of them.
    - `seed`: of the words.

    Returns (count, length) int64.
    """
    ids = np.random.default_rng(seed).integers(_FIRST_WORD_ID, vocabulary - 2, (count, length))
    ids[:, 0], ids[:, -1] = vocabulary - 2, vocabulary - 1
    return ids


def tokenised_sentences(tokenizer_file: Path, count: int, length: int, seed: int) -> TokenIds:
    """Sentences of `random_sentences` through a tokenizer, their words cut or repeated to one length.

    - `tokenizer_file`: a tokenizer.json of the `tokenizers` library.
    - `count`, `length`: sentences, and ids of each, the two special ids included.
    - `seed`: of the sentences.

    Returns (count, length) int64.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch(random_sentences(count, seed))
    rows = [(ids[:1], np.resize(ids[1:-1], length - 2), ids[-1:]) for ids in (encoding.ids for encoding in encodings)]
    return np.stack([np.concatenate(row) for row in rows]).astype(np.int64)


def random_sentences(count: int, seed: int) -> list[str]:
    """Short product descriptions, all in ASCII."""
    rng = np.random.default_rng(seed)
    return [f"a {rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)} {rng.choice(_ENDINGS)}" for _ in range(count)]


def random_unit_rows(count: int, dim: int, seed: int) -> FloatArray:
    """Rows (count, dim) float32 of unit norm, uniform over the directions."""
    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def write_photos(folder: Path, count: int, edge: int, seed: int) -> Path:
    """Write `count` JPEG files of edge x edge pixels into a folder, which is returned."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        write_photo(folder / f"{i:03}.jpg", random_picture(rng, edge, edge))
    return folder


def write_photo(path: Path, picture: Image.Image) -> None:
    """Write a picture as JPEG, in the quality of all photos of the bench."""
    picture.save(path, quality=_JPEG_QUALITY)


def write_sentences(path: Path, count: int, seed: int) -> Path:
    """Write product descriptions as a JSON list; returns `path`."""
    path.write_text(json.dumps(random_sentences(count, seed)))
    return path


def write_products(folder: Path, count: int, edge: int, seed: int) -> Path:
    """Write products for `reading.read_products` and for `clipshelf index`.

    - `folder`: gets products.csv, whose ids count from 0, and the pictures that it names.
    - `count`: products.
    - `edge`: edge of a picture in pixels.
    - `seed`: of pictures and sentences.

    Returns `folder`.
    """
    write_photos(folder / "pictures", count, edge, seed)
    with (folder / "products.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("id", "text", "image"))
        for row, sentence in enumerate(random_sentences(count, seed)):
            lines.writerow((row, sentence, f"pictures/{row:03}.jpg"))
    return folder


def write_query(folder: Path, edge: int, seed: int) -> Path:
    """Write a review and an edge x edge photo into a folder; returns the .json file that names both."""
    photo = write_photos(folder, 1, edge, seed) / "000.jpg"
    path = folder / "query.json"
    path.write_text(json.dumps({"text": REVIEW, "photo": str(photo)}))
    return path
