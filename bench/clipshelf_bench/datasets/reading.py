"""Input files back to values, in the workers: nothing but NumPy is imported here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np


def read(path: Path) -> Any:
    """The value of an input file.

    .npy: an array. .json: a list of sentences, or for {"text", "photo"} the sentence and the bytes of the photo's
    file. A folder: the bytes of each of its files.
    """
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".json":
        value = json.loads(path.read_text())
        return [value["text"], Path(value["photo"]).read_bytes()] if isinstance(value, dict) else value
    return [file.read_bytes() for file in sorted(path.iterdir())]


def read_products(folder: Path) -> list[tuple[str, bytes]]:
    """Sentence and bytes of the picture of each row of `products.csv` in a folder, which names id, text and image."""
    with (folder / "products.csv").open(newline="") as file:
        return [(row["text"], (folder / row["image"]).read_bytes()) for row in csv.DictReader(file)]
