"""The samples of a tower: inputs in three disjoint parts, so that no part judges what it has chosen.

Pictures and texts come from the user, or from the sample shelf and `synthetic`. Each part gets a third of each origin.
"""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
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

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"}
# Reasons of pictures that were left out that the manifest keeps.
MAX_LEFT_OUT_REASONS = 10
# A third of this, 20 samples, is the least in which the 10 nearest neighbours mean something: half of the others.
MIN_SAMPLES = 60
# More samples cost minutes on large towers.
MAX_PICTURES, MAX_TEXTS = 288, 576


@dataclass(frozen=True)
class Samples:
    """Samples of one tower: pixels, uint8 (S, S, 3), or token ids, int64 (L,).

    - `calibration`: set the ranges of int8.
    - `choosing`: decide between plans.
    - `final`: accept or refuse a plan.
    - `origin`: where the samples come from, for the manifest.
    - `left_out`: why each picture that could not be read was left out.
    """

    calibration: Sequence[Pixels] | Sequence[TokenIds]
    choosing: Sequence[Pixels] | Sequence[TokenIds]
    final: Sequence[Pixels] | Sequence[TokenIds]
    origin: str
    left_out: Sequence[str] = ()

    def as_record(self) -> dict[str, Any]:
        """Return the record for the manifest: the origin, the size of each part and a hash of all samples.

        Where pictures were left out, their number and the first reasons are added.
        """
        digest = hashlib.sha256()
        for sample in (*self.calibration, *self.choosing, *self.final):
            digest.update(np.ascontiguousarray(sample).tobytes())
        parts = {"calibrated_on": self.calibration, "chosen_on": self.choosing, "measured_on": self.final}
        sizes = {name: len(part) for name, part in parts.items()}
        record: dict[str, Any] = {"origin": self.origin, **sizes, "sha256": digest.hexdigest()}
        if self.left_out:
            reasons = list(self.left_out[:MAX_LEFT_OUT_REASONS])
            record["left_out"] = {"count": len(self.left_out), "reasons": reasons}
        return record


def image_samples(spec: ImageSpec, folder: Path | None) -> Samples:
    """Read the pictures of a folder, or make the built-in set.

    - `spec`: how a picture becomes pixels.
    - `folder`: its pictures are found at any depth and taken in the order of their paths; None for the built-in set.
      One that cannot be read is left out, with its reason.

    Raises ExportError where there are fewer than `MIN_SAMPLES` different pictures.
    """
    reader = ImageReader(spec)
    if folder is None:
        shelf: list[ImageSource] = [*_pick_evenly(_shelf_pictures(), MAX_PICTURES // 2)]
        synthetic_pictures: list[ImageSource] = [*synthetic.make_pictures(MAX_PICTURES - len(shelf), spec.size)]
        return _deal([[reader.read(picture) for picture in group] for group in (shelf, synthetic_pictures)], "built-in")
    if not folder.is_dir():
        raise ExportError(f"--calibration-images: expected a folder, found {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    pictures, left_out = [], []
    for path in _pick_evenly(paths, MAX_PICTURES):
        try:
            pictures.append(reader.read(path))
        except ImageError as error:
            left_out.append(str(error))
    different = [*{pixels.tobytes(): pixels for pixels in pictures}.values()]
    unread = f"; {len(left_out)} could not be read, the first: {left_out[0]}" if left_out else ""
    _require_enough(different, "--calibration-images", "different pictures", unread)
    return replace(_deal([different], folder.name), left_out=left_out)


def text_samples(checkpoint: Checkpoint, file: Path | None) -> Samples:
    """Read the lines of a file, or make the built-in set, and split them with the checkpoint's tokenizer.

    - `file`: a text per line, in UTF-8; None for the built-in set.

    Raises ExportError where the file cannot be read or has fewer than `MIN_SAMPLES` texts with different tokens.
    """
    if file is None:
        shelf = _pick_evenly(_shelf_texts(), MAX_TEXTS // 2)
        groups = _tokenize(checkpoint, [shelf, synthetic.make_sentences(MAX_TEXTS - len(shelf))])
        _require_enough([ids for group in groups for ids in group], "built-in texts", "that the tokenizer tells apart")
        return _deal(groups, "built-in")
    texts = read_texts(file, "--calibration-texts")
    groups = _tokenize(checkpoint, [_pick_evenly(texts, MAX_TEXTS)])
    _require_enough(groups[0], "--calibration-texts", "lines that the tokenizer tells apart")
    return _deal(groups, file.name)


def read_texts(file: Path, option: str) -> list[str]:
    """Return the different lines of a file in order, without empty ones.

    - `option`: names the file in the ExportError for one that cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{option}: expected a text file in UTF-8, found: {error}") from error
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def pad(texts: Sequence[TokenIds], pad_id: int) -> tuple[TokenIds, TokenIds]:
    """Right-pad texts of any length, int64 (L,), with `pad_id`; return input_ids and mask, both int64 (B, longest)."""
    longest = max(len(ids) for ids in texts)
    input_ids = np.full((len(texts), longest), pad_id, np.int64)
    mask = np.zeros_like(input_ids)
    for index, ids in enumerate(texts):
        input_ids[index, : len(ids)], mask[index, : len(ids)] = ids, 1
    return input_ids, mask


def _tokenize(checkpoint: Checkpoint, groups: Sequence[Sequence[str]]) -> list[list[TokenIds]]:
    """Return the token ids of each group without repeats; texts that differ only beyond the context are repeats."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(checkpoint.tokenizer_json, encoding="utf-8")
        tokenizer = Tokenizer(path, checkpoint.text_spec)
    seen: set[bytes] = set()
    tokenized = []
    for texts in groups:
        different = {ids.tobytes(): ids for ids in tokenizer.encode(texts)}
        tokenized.append([ids for key, ids in different.items() if key not in seen])
        seen |= different.keys()
    return tokenized


def _shelf_products() -> list[dict[str, str]]:
    """Return the products of the sample shelf, or none where a checkout lacks it."""
    try:
        with (bundled.shelf_path() / "products.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (ClipshelfError, FileNotFoundError):
        return []


def _shelf_pictures() -> list[Path]:
    return [bundled.shelf_path() / product["image"] for product in _shelf_products() if product.get("image")]


def _shelf_texts() -> list[str]:
    return [product["text"] for product in _shelf_products() if product.get("text")]


def _deal(groups: Sequence[Sequence[Any]], origin: str) -> Samples:
    """Deal each group into the three parts, three samples at a time.

    Each round starts at the next part, so that samples that recur with a period of three do not all go to one part.
    """
    parts: tuple[list[Any], list[Any], list[Any]] = [], [], []
    for group in groups:
        for index, sample in enumerate(group):
            parts[(index - index // 3) % 3].append(sample)
    return Samples(*parts, origin)


def _pick_evenly(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` items at even steps."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _require_enough(samples: Sequence[Any], origin: str, kind: str, detail: str = "") -> None:
    if len(samples) < MIN_SAMPLES:
        raise ExportError(f"{origin}: expected at least {MIN_SAMPLES} {kind}, found {len(samples)}{detail}")
