"""Medians, tails, and how sure a ratio of medians is.

R rounds, n runs per round. Runs of one round share the machine's mood, so rounds, not runs, are what is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf_bench.arrays import FloatArray

Rounds = Sequence[Sequence[float]]
_DRAWS = 2000


@dataclass(frozen=True)
class Summary:
    """Milliseconds of all runs together."""

    p50: float
    p95: float
    p99: float
    runs: int


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def summarise(rounds: Rounds) -> Summary:
    """Percentiles over the runs of all rounds."""
    runs = np.concatenate([np.asarray(r, float) for r in rounds])
    p50, p95, p99 = np.percentile(runs, [50, 95, 99])
    return Summary(float(p50), float(p95), float(p99), len(runs))


def ratio(ours: Rounds, theirs: Rounds, seed: int = 0) -> Ratio:
    """Median of ours over median of theirs; both have the same R rounds, drawn together because they ran together."""
    if len(ours) != len(theirs):
        raise ValueError(f"expected as many rounds of both, found {len(ours)} and {len(theirs)}")
    value = summarise(ours).p50 / summarise(theirs).p50
    a, b = (np.array([np.median(r) for r in rounds]) for rounds in (ours, theirs))
    draws = np.random.default_rng(seed).integers(0, len(a), (_DRAWS, len(a)))
    low, high = np.percentile(np.median(a[draws], axis=1) / np.median(b[draws], axis=1), [2.5, 97.5])
    return Ratio(value, min(value, float(low)), max(value, float(high)))


def columns(rounds: Rounds, ours: Rounds | None, scale: float = 1.0) -> dict[str, Any]:
    """A report's columns for one contender: percentiles over `scale` items, and ours over theirs, where `ours` is."""
    summary = summarise(rounds)
    found: dict[str, Any] = {f"{name}_ms": getattr(summary, name) / scale for name in ("p50", "p95", "p99")}
    found |= {"runs": summary.runs, "rounds": [float(np.median(r)) / scale for r in rounds]}
    if ours is not None and ours is not rounds:
        against = ratio(ours, rounds)
        found |= {"ratio": against.value, "low": against.low, "high": against.high}
    return found


@dataclass(frozen=True)
class Fidelity:
    """How close embeddings are to the reference's: cosines over rows, and shared neighbours.

    `centred` subtracts the reference's mean embedding first; plain cosine flatters, as any two pictures of CLIP are
    alike. `overlap` is the share of common rows among the ten nearest, None for fewer than twenty rows.
    """

    cosine: float
    cosine_min: float
    centred: float
    centred_min: float
    overlap: float | None


def fidelity(reference: FloatArray, embeds: FloatArray) -> Fidelity:
    """Compare unit rows (n, D) with the reference's (n, D)."""
    if reference.shape != embeds.shape:
        raise ValueError(f"expected embeddings {reference.shape}, found {embeds.shape}")
    mean = reference.mean(axis=0)
    plain, centred = _cosines(reference, embeds), _cosines(reference - mean, embeds - mean)
    overlap = _overlap(reference, embeds) if len(reference) >= 20 else None
    return Fidelity(float(plain.mean()), float(plain.min()), float(centred.mean()), float(centred.min()), overlap)


def _cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12), dtype=np.float64)


def _overlap(reference: FloatArray, embeds: FloatArray, k: int = 10) -> float:
    """Each row asks the reference's rows for its neighbours; a row is no neighbour of itself."""
    return recall(_neighbours(reference, reference, k), _neighbours(embeds, reference, k))


def _neighbours(queries: FloatArray, rows: FloatArray, k: int) -> npt.NDArray[np.int64]:
    scores = queries @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :k]


def recall(expected: npt.NDArray[np.integer], found: npt.NDArray[np.integer]) -> float:
    """Mean share of the expected rows (Q, k) that are among the found rows (Q, k)."""
    shares = [len(set(a) & set(b)) / len(a) for a, b in zip(expected.tolist(), found.tolist(), strict=True)]
    return float(np.mean(shares))


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time over log size by least squares: 1 is linear growth."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
