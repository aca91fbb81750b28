"""Input files read back in the workers; this module imports nothing but NumPy."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np


def read_input(path: Path) -> Any:
    """The value of an input file.

    - A .npy file: its array.
    - A .json file: a list of sentences; for an object with `text` and `photo`, the text and the bytes of the photo.
    - A folder: the bytes of its files, in order of their names.
    """
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".json":
        value = json.loads(path.read_text())
        return [value["text"], Path(value["photo"]).read_bytes()] if isinstance(value, dict) else value
    return [file.read_bytes() for file in sorted(path.iterdir())]


def read_products(folder: Path) -> list[tuple[str, bytes]]:
    """Sentence and encoded picture of each product of a folder that `inputs.write_products` wrote."""
    with (folder / "products.csv").open(newline="") as file:
        return [(row["text"], (folder / row["image"]).read_bytes()) for row in csv.DictReader(file)]
