"""What sets the ranges of int8, what chooses between plans, and what fidelity is measured on: three disjoint parts.

Pictures and texts come from the user, or from the sample shelf and `synthetic`; each part gets some of every kind.
"""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf import bundled
from clipshelf.errors import ClipshelfError, ExportError, ImageError
from clipshelf.model.artifact import ImageSpec
from clipshelf.model.image import ImageReader
from clipshelf.model.tokenizer import Tokenizer
from clipshelf.types import ImageSource, Pixels, TokenIds

from clipshelf_export.checkpoints.towers import Checkpoint
from clipshelf_export.measure import synthetic

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
# a third of it is the fewest in which a top-10 means something: half of the others
LEAST = 60
# a third sets ranges, a third chooses, a third measures. More costs minutes on large towers
PICTURES, TEXTS = 288, 576


@dataclass(frozen=True)
class Samples:
    """Inputs of one tower: `calibrate` sets ranges, `choose` picks a plan, `measure` does neither.

    `origin` names where they came from.

    An input is pixels (S, S, 3) uint8 or input_ids (L,) int64.
    """

    calibrate: Sequence[Pixels] | Sequence[TokenIds]
    choose: Sequence[Pixels] | Sequence[TokenIds]
    measure: Sequence[Pixels] | Sequence[TokenIds]
    origin: str

    def describe(self) -> dict[str, Any]:
        """The manifest's record of them."""
        digest = hashlib.sha256()
        for item in (*self.calibrate, *self.choose, *self.measure):
            digest.update(np.ascontiguousarray(item).tobytes())
        parts = {"calibrated_on": self.calibrate, "chosen_on": self.choose, "measured_on": self.measure}
        sizes = {name: len(part) for name, part in parts.items()}
        return {"origin": self.origin, **sizes, "sha256": digest.hexdigest()}


def image_samples(spec: ImageSpec, folder: Path | None) -> Samples:
    """Pictures of `folder` (all below it, in order), or the built-in set."""
    reader = ImageReader(spec)
    if folder is None:
        shelf: list[ImageSource] = [*_spread(_shelf_pictures(), PICTURES // 2)]
        made: list[ImageSource] = [*synthetic.pictures(PICTURES - len(shelf), spec.size)]
        return _deal([[reader.read(picture) for picture in part] for part in (shelf, made)], "built-in")
    if not folder.is_dir():
        raise ExportError(f"--calibration-images: expected a folder, found {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    try:
        pixels = {found.tobytes(): found for found in (reader.read(path) for path in _spread(paths, PICTURES))}
    except ImageError as error:
        raise ExportError(f"--calibration-images: {error}") from error
    return _deal([_enough([*pixels.values()], "--calibration-images", "different pictures")], folder.name)


def text_samples(checkpoint: Checkpoint, file: Path | None) -> Samples:
    """Lines of `file`, or the built-in set, as the checkpoint's tokenizer splits them."""
    if file is None:
        shelf = _spread(_shelf_texts(), TEXTS // 2)
        groups = _encode(checkpoint, [shelf, synthetic.sentences(TEXTS - len(shelf))])
        _enough([row for group in groups for row in group], "built-in texts", "that the tokenizer tells apart")
        return _deal(groups, "built-in")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"--calibration-texts: expected a text file in UTF-8, found: {error}") from error
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    [rows] = _encode(checkpoint, [_spread(texts, TEXTS)])
    return _deal([_enough(rows, "--calibration-texts", "lines that the tokenizer tells apart")], file.name)


def pad(rows: Sequence[TokenIds], pad_id: int) -> tuple[TokenIds, TokenIds]:
    """Right-pad rows (L,) to input_ids and mask, both int64 (B, longest)."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for line, row in enumerate(rows):
        ids[line, : len(row)], mask[line, : len(row)] = row, 1
    return ids, mask


def _encode(checkpoint: Checkpoint, groups: Sequence[Sequence[str]]) -> list[list[TokenIds]]:
    """Different token rows of each group; texts that only differ past the context fall together."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(checkpoint.tokenizer_json, encoding="utf-8")
        tokenizer = Tokenizer(path, checkpoint.text_spec)
    seen: set[bytes] = set()
    groups_of_rows = []
    for texts in groups:
        rows = {row.tobytes(): row for row in tokenizer.encode(texts)}
        groups_of_rows.append([row for key, row in rows.items() if key not in seen])
        seen |= rows.keys()
    return groups_of_rows


def _shelf() -> list[dict[str, str]]:
    try:
        path = bundled.shelf_path() / "products.csv"
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (ClipshelfError, FileNotFoundError):
        return []  # a checkout from which the shelf is still missing


def _shelf_pictures() -> list[Path]:
    folder = bundled.shelf_path() if _shelf() else Path()
    return [folder / row["image"] for row in _shelf() if row.get("image")]


def _shelf_texts() -> list[str]:
    return [row["text"] for row in _shelf() if row.get("text")]


def _deal(groups: Sequence[Sequence[Any]], origin: str) -> Samples:
    """Each group in threes: one sets the ranges, one chooses, one measures.

    The place in a three moves on from one to the next, so that a period in a group does not fall to one side.
    """
    dealt: tuple[list[Any], list[Any], list[Any]] = [], [], []
    for group in groups:
        for index, item in enumerate(group):
            dealt[(index - index // 3) % 3].append(item)
    return Samples(*dealt, origin)


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` items at even steps."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _enough(items: list[Any], origin: str, what: str) -> list[Any]:
    if len(items) < LEAST:
        raise ExportError(f"{origin}: expected at least {LEAST} {what}, found {len(items)}")
    return items
