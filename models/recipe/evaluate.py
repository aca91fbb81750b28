"""Recall of retrieval. Held-out concepts decide between candidates; the stamps are only reported.

n pictures, m different sentences, D = 384.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from clipshelf_bench.datasets.stamps import recall_at, recall_interval

KS = (1, 5, 10)


@dataclass(frozen=True)
class Recall:
    """Recall at k with a 95 % bootstrap interval."""

    k: int
    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Return the fields as a JSON object."""
        return asdict(self)


def recalls(
    images: npt.NDArray[np.float32], texts: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]
) -> list[Recall]:
    """Measure recall from picture to sentence.

    - `images`: (n, D).
    - `texts`: (m, D).
    - `targets`: (n,) the row in `texts` of each picture's sentence.
    """
    scores = images @ texts.T
    return [Recall(k, recall_at(scores, targets, k), *recall_interval(scores, targets, k)) for k in KS]


def chance(n: int) -> list[float]:
    """Return the expected recall of a random order of n sentences, for each k."""
    return [k / n for k in KS]


def table(rows: dict[str, list[Recall]]) -> str:
    """Return a Markdown table: one line for each model, `value [low, high]` for each k."""
    lines = ["| | " + " | ".join(f"recall@{k}" for k in KS) + " |", "|---" * (len(KS) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in row) + " |")
    return "\n".join(lines)
