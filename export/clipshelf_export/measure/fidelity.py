"""Fidelity: how closely the embeddings of a graph agree with those of the original model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from clipshelf.types import DoubleArray, FloatArray

# neighbours of an input whose order counts
TOP = 10
# keeps the norm of a zero row from dividing by zero
TINY_NORM = 1e-300


@dataclass(frozen=True)
class Fidelity:
    """The agreement of n embeddings with the original's.

    - `count`: n.
    - `cosine_mean`, `cosine_min`: the cosine of the two embeddings of an input.
    - `centred_mean`, `centred_min`: the same cosine after the mean embedding of the original is subtracted from both.
      CLIP gives even different pictures a high cosine, so the plain one says little.
    - `top10_overlap`: the share of the 10 nearest neighbours of an input, among the other inputs, on which both agree.
    - `difference`: the largest absolute difference of any component.
    """

    count: int
    cosine_mean: float
    cosine_min: float
    centred_mean: float
    centred_min: float
    top10_overlap: float
    difference: float

    def as_record(self) -> dict[str, float]:
        """Return the record for the manifest, with floats rounded to 6 decimals."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def summary(self) -> str:
        """Return the two numbers that decide about int8, as text."""
        return f"top-10 {self.top10_overlap:.4f}, centred {self.centred_mean:.5f}"


def compare(reference: FloatArray, embeds: FloatArray) -> Fidelity:
    """Compare embeddings with the original's.

    Both are normalised again in float64: where all inputs are alike, the rounding of fp32 norms would order the
    neighbours.

    - `reference`: (n, D) of the original model, unit norm.
    - `embeds`: (n, D) of a graph, for the same inputs in the same order.
    """
    exact, other = _to_unit_norm(reference), _to_unit_norm(embeds)
    plain = _cosines(exact, other)
    centre = exact.mean(0)
    centred = _cosines(exact - centre, other - centre)
    return Fidelity(
        len(exact),
        float(plain.mean()),
        float(plain.min()),
        float(centred.mean()),
        float(centred.min()),
        _top_overlap(exact, other),
        float(np.abs(exact - other).max()),
    )


def format_table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return records of `Fidelity.as_record` by their names as a text table."""
    lines = [f"{'':14}{'cosine mean':>12}{'min':>9}{'centred mean':>14}{'min':>9}{'top-10':>9}{'n':>6}"]
    for name, f in records.items():
        values = f"{f['cosine_mean']:12.5f}{f['cosine_min']:9.5f}{f['centred_mean']:14.5f}{f['centred_min']:9.5f}"
        lines.append(f"{name:14}{values}{f['top10_overlap']:9.4f}{f['count']:6d}")
    return "\n".join(lines)


def _to_unit_norm(rows: FloatArray) -> DoubleArray:
    doubles = rows.astype(np.float64)
    unit: DoubleArray = doubles / np.maximum(np.linalg.norm(doubles, axis=1, keepdims=True), TINY_NORM)
    return unit


def _cosines(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: DoubleArray = (a * b).sum(1) / np.maximum(norms, TINY_NORM)
    return cosines


def _top_overlap(a: DoubleArray, b: DoubleArray) -> float:
    k = min(TOP, len(a) - 1)
    neighbours = zip(_nearest(a, k), _nearest(b, k), strict=True)
    return float(np.mean([len(set(x) & set(y)) / k for x, y in neighbours]))


def _nearest(rows: DoubleArray, k: int) -> list[list[int]]:
    """Return the positions of the `k` nearest other rows of each row."""
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    nearest: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
    return nearest
