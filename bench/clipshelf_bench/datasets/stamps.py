"""The held-out set: Tux Paint's stamps, a picture and an English sentence each, and how retrieval on it is scored.

n pictures, m different sentences. The set is never used to train a model or to choose anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clipshelf_bench.stats import bootstrap_interval

PACKAGE = "tuxpaint-stamps-default"
STAMPS = Path("usr/share/tuxpaint/stamps")
# Letters, coins, operators and notes are distinguished by reading, not by looking.
_GLYPHS = ("symbols/alphabets", "symbols/money", "symbols/math", "symbols/music")


@dataclass(frozen=True)
class Stamp:
    """A picture's file and the sentence that says what it shows."""

    path: Path
    sentence: str


def read_stamps(root: Path) -> list[Stamp]:
    """Stamps of an unpacked package, in order of path: every .png or .jpg with a sentence beside it.

    - `root`: the folder that holds the package's `usr/`.

    The sentence is the first line of the .txt file of the same name; the lines after it are translations.
    Raises FileNotFoundError when `root` holds no stamps.
    """
    folder = root / STAMPS
    if not folder.is_dir():
        raise FileNotFoundError(f"no stamps at {folder}: expected the unpacked Debian package {PACKAGE}")
    stamps = []
    for picture in sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".jpg"}):
        text = picture.with_suffix(".txt")
        if picture.relative_to(folder).as_posix().startswith(_GLYPHS) or not text.is_file():
            continue
        sentence = text.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip()
        if sentence:
            stamps.append(Stamp(picture, sentence))
    return stamps


def sentence_targets(stamps: list[Stamp]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The m different sentences in order of first appearance, and for each stamp (n,) the position of its sentence."""
    positions: dict[str, int] = {}
    targets = [positions.setdefault(stamp.sentence, len(positions)) for stamp in stamps]
    return list(positions), np.asarray(targets, dtype=np.int64)


def ranks(scores: npt.NDArray[np.floating], targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rank (n,) of each target (n,) under scores (n, m); 0 is best, and a tie counts against the target."""
    target_scores = np.take_along_axis(scores, targets[:, None], axis=1)
    return np.asarray((scores >= target_scores).sum(axis=1) - 1, dtype=np.int64)


def recall_at(scores: npt.NDArray[np.floating], targets: npt.NDArray[np.int64], k: int) -> float:
    """Share of rows of scores (n, m) whose target (n,) is among the k highest; ValueError when k is below 1."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return float((ranks(scores, targets) < k).mean())


def recall_interval(
    scores: npt.NDArray[np.floating], targets: npt.NDArray[np.int64], k: int, *, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bounds of the 95 % percentile bootstrap interval of `recall_at`.

    - `scores`, `targets`, `k`: as for `recall_at`.
    - `rounds`: how often the n pictures are resampled.
    - `seed`: of the resampling.
    """
    return bootstrap_interval(ranks(scores, targets) < k, resamples=rounds, seed=seed)
