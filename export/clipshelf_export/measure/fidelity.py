"""How near embeddings are to the original's, in numbers that do not flatter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from clipshelf.types import FloatArray

Doubles = npt.NDArray[np.float64]
TOP = 10


@dataclass(frozen=True)
class Fidelity:
    """Agreement of n embeddings with the original's.

    `centred` is the cosine after the original's mean embedding was taken from both: two different pictures are 0.9
    alike in CLIP, so the plain cosine flatters. `top10_overlap` is the share of each input's 10 nearest others that
    both agree on. `difference` is the largest absolute one of any component.
    """

    count: int
    cosine_mean: float
    cosine_min: float
    centred_mean: float
    centred_min: float
    top10_overlap: float
    difference: float

    def as_record(self) -> dict[str, float]:
        """The manifest's record, rounded to what is significant."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def brief(self) -> str:
        """The two numbers that int8 is judged by."""
        return f"top-10 {self.top10_overlap:.4f}, centred {self.centred_mean:.5f}"


def compare(reference: FloatArray, found: FloatArray) -> Fidelity:
    """Compare unit-norm rows (n, D) with the original's.

    Norms are taken again in float64: where all inputs are alike, fp32's rounding of them would order the neighbours.
    """
    exact, other = _unit(reference), _unit(found)
    plain = _cosines(exact, other)
    centre = exact.mean(0)
    centred = _cosines(exact - centre, other - centre)
    return Fidelity(
        len(exact),
        float(plain.mean()),
        float(plain.min()),
        float(centred.mean()),
        float(centred.min()),
        _overlap(exact, other),
        float(np.abs(exact - other).max()),
    )


def table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Records of fidelity by name as a small text table."""
    lines = [f"{'':14}{'cosine mean':>12}{'min':>9}{'centred mean':>14}{'min':>9}{'top-10':>9}{'n':>6}"]
    for name, f in records.items():
        values = f"{f['cosine_mean']:12.5f}{f['cosine_min']:9.5f}{f['centred_mean']:14.5f}{f['centred_min']:9.5f}"
        lines.append(f"{name:14}{values}{f['top10_overlap']:9.4f}{f['count']:6d}")
    return "\n".join(lines)


def _unit(rows: FloatArray) -> Doubles:
    doubles = rows.astype(np.float64)
    unit: Doubles = doubles / np.maximum(np.linalg.norm(doubles, axis=1, keepdims=True), 1e-300)
    return unit


def _cosines(a: Doubles, b: Doubles) -> Doubles:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Doubles = (a * b).sum(1) / np.maximum(norms, 1e-300)
    return cosines


def _overlap(a: Doubles, b: Doubles) -> float:
    top = min(TOP, len(a) - 1)
    both = [_nearest(rows, top) for rows in (a, b)]
    return float(np.mean([len(set(x) & set(y)) / top for x, y in zip(*both, strict=True)]))


def _nearest(rows: Doubles, top: int) -> list[list[int]]:
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    nearest: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :top].tolist()
    return nearest
